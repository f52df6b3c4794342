//! What must never be found where it does not belong.

mod planted;
mod trail;
