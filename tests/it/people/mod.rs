//! Who works here, and how they prove it.

mod signing_in;
