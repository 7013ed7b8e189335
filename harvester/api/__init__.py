"""The TwelveLabs side: requests, answers, and the limits on them."""
