"""What the pages share: template, look, words for numbers. A page is one file, without a script or a request."""
