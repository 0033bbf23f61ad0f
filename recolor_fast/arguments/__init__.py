"""What each verb takes on its command line. No module here imports torch, so --help is quick."""
