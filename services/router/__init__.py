"""The router: decide who answers an execution request, and control the rollout of L3."""
