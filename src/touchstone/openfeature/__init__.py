"""The rollout's flags for other services, by OpenFeature (package extra `openfeature`)."""
