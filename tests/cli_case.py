"""Flags for a small training on files written by `files.make_jets`."""

SMALL_FILES = (
    "--trainer.logger=false",
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=1",
    "--data.num_workers=0",
    "--data.batch_size=50",
    "--data.train_file=train.h5",
    "--data.val_file=val.h5",
    "--data.test_file=null",
    "--data.inputs.tracks.variables=[d0,z0,dphi]",
    "--model.tasks.track_origin=null",
    "--model.tasks.track_vertexing=null",
)
