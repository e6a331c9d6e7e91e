//! Floors: the least that any program could do for the same work. Each is a program of its own in
//! one file, readable in one sitting; it is told what to do in lines on standard input.

pub(crate) mod connect;
pub(crate) mod echo;
pub(crate) mod fanout;
pub(crate) mod fanout_ring;
pub(crate) mod writers;
