"""The perps order gateway: REST in front of a venue, with journal, checks and kill switch."""
