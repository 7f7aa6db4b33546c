//! The feed client against authorities that misbehave: whatever they send, it is bounded and named.

mod hearing;
