//! Black-box tests, one binary, filed by area. Each test of stored behaviour runs on SQLite and on PostgreSQL.
//!
//! `tests/README.md` says how to run them and how to write one; `support/` holds the people, phones, databases,
//! servers and postboxes that they use.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says so and stops")]
#![expect(unreachable_pub, reason = "support is written as a library, and nothing outside this binary can reach it")]

mod support;

mod demo;
mod faults;
mod house;
mod people;
mod process;
mod rest;
mod surface;
mod sync;
mod trust;
mod worker;
