"""What tests share: servers, recordings, scenes, and nodes in processes of their own."""
