"""What a trained tagger is worth: numbers from prediction files, their pictures, and a page of both."""
