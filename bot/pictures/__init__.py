"""The picture server: results under signed links, as files and as a page that can only be read."""
