//! The binary as an operator meets it: how it starts, refuses and stops, and what its commands say.

mod commands;
mod copied;
mod first_start;
mod much;
mod schema;
mod stopping;
