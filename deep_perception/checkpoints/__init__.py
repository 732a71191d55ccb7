"""Model weights: which ones can be downloaded, the download, and checks of the files on disk."""
