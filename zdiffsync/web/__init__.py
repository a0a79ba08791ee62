"""Points, files and their versions in the browser. The only package that knows Flask."""
