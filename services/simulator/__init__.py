"""The L3 simulator over gRPC: executions, and order-book sessions."""
