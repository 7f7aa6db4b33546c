//! A reader: queries on a connection that cannot write, each on one consistent state.

use std::path::Path;
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::error::StoreError;

type Query = Box<dyn FnOnce(&Connection, &Path) + Send>;

pub(crate) struct Reader {
    queue: Option<mpsc::Sender<Query>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    pub(crate) fn start(connection: Connection, path: &Path) -> Result<Self, StoreError> {
        let (queue, mut queries) = mpsc::channel::<Query>(QUEUE);
        let owned = path.to_owned();
        let thread = thread::Builder::new()
            .name("store-reader".to_owned())
            .spawn(move || {
                while let Some(query) = queries.blocking_recv() {
                    query(&connection, &owned);
                }
            })
            .map_err(|error| StoreError::Io {
                path: path.to_owned(),
                why: error.to_string(),
            })?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    pub(crate) async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let query: Query = Box::new(move |connection, path| {
            let consistent = || {
                let transaction = connection.unchecked_transaction()?;
                query(&transaction)
            };
            // Nobody may be waiting any more.
            let _ = reply.send(consistent().map_err(|error| StoreError::from_sql(path, &error)));
        });
        let queue = self.queue.as_ref().ok_or(StoreError::Stopped)?;
        queue.send(query).await.map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A reader that panicked has nothing left to wait for.
            let _ = thread.join();
        }
    }
}

/// Queries that wait: more than the requests that the admin API serves at once, so that waiting happens there.
const QUEUE: usize = 1024;
