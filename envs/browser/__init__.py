"""Any game in a web page, in a headless Chromium."""
