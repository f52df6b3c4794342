//! Who works here, and how they prove it.

mod managing;
mod operator;
mod passwords;
mod sessions;
mod signing_in;
mod throttling;
