"""HTML pages: template, figures, titles, formats. A page is one file, without a script or a request."""
