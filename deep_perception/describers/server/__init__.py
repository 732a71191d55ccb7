"""What all describers that ask a server over HTTP share."""
