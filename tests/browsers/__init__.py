"""The browser of the tests: Debian's Chromium, driven by Playwright."""
