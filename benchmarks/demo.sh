# The demo, as one would type it: `make demo` runs it with the commands of .venv on the path.
# Jets that are there already are used again.
set -eu

jets=demo/jets
if [ ! -f "$jets/test.h5" ]; then
    echo "== Simulating jets with Pythia"
    main simulate --out "$jets" --num_train 20000 --num_val 2000 --num_test 10000 --seed 1 --processes 2
fi

echo "== Training a graph network"
main fit --config gnn.yaml \
    --data.train_file "$jets/train.h5" --data.val_file "$jets/val.h5" --data.test_file "$jets/test.h5" \
    --trainer.default_root_dir demo/runs --trainer.logger false --trainer.max_epochs 10
run=$(ls -d demo/runs/gnn_* | tail -n 1)

echo "== Evaluating it"
main test --config "$run/config.yaml"
predictions=$(ls "$run"/ckpts/*__test_*.h5)
main rejection "$predictions" --plot demo/rejection.png

echo
echo "Look at"
echo "  demo/rejection.png    the rejection of c- and light jets against the b-efficiency"
echo "  $predictions    the scores of every jet and track"
echo "  $run/metrics.csv    losses and accuracies, epoch by epoch"
echo "  $run/config.yaml    the complete config; main fit --config with it repeats the run"
