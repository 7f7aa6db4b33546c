//! The prober against servers of other people, and against those that mean it ill.

mod apache;
mod haproxy;
mod hostile;
mod nginx;
mod openssl;
mod peers;
mod plaintext;
mod plan;
mod world;
