"""HTML pages: template, figures, titles, formats. A page is one file, which requests nothing."""
