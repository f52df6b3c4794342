//! What somebody meets who tries Fieldstone: `fieldstone demo`, its mail page, and `fieldstone sample`.

mod sample;
mod starting;
