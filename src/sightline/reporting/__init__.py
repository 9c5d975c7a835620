"""HTML pages: template, figures, titles, formats. A page is one self-contained file."""
