//! The prober against servers of other people, and against those that mean it ill.

mod openssl;
mod peers;
mod world;
