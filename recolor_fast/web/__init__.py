"""The page that colors photographs as a static site, which does all its work in the browser: `recolor-fast web`."""
