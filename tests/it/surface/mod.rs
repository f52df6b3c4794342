//! What every path has in common: who may call it, what it refuses, and how a refusal looks.

mod bodies;
mod document;
mod refusals;
mod roles;
