"""The paper exchange: Coinbase's REST and WebSocket protocol in front of `touchstone.exchange`."""
