"""The TwelveLabs API over HTTP: requests, answers, and their rate limits."""
