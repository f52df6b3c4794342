//! Tests of the house itself: which crate may know which.

mod databases;
mod docs;
mod edges;
