//! Requests and their answers.

use std::os::fd::OwnedFd;

use loam_model::{ErrorKind, Failure, ProcessTarget, Result, Stats};

use super::Shim;
use super::connection::Connection;
use crate::protocol::{Reply, Request, StreamSet, WireFailure};
use crate::rootfs;

impl Shim {
    /// Serves the next request of each connection that has one. Of those for a further process only one is served, and
    /// after all others: however many there are, a signal or the end does not wait for them.
    pub(super) fn serve_connections(&mut self) {
        self.connections.iter_mut().for_each(Connection::hear);
        for index in 0..self.connections.len() {
            if !self.finished && !self.connections[index].asks_for_exec() {
                self.serve(index);
            }
        }
        if let Some(index) = self.connections.iter().position(|connection| connection.asks_for_exec())
            && !self.finished
        {
            self.serve(index);
        }
    }

    /// Whether a request has come that is not served yet.
    pub(super) fn has_request(&self) -> bool {
        self.connections.iter().any(|connection| connection.request.is_some())
    }

    fn serve(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let Some((request, descriptors)) = connection.request.take() else { return };
        if connection.closed {
            return;
        }
        // Taken out while it is served, because everything else may be needed for that.
        let mut connection = self.connections.swap_remove(index);
        if let Some(reply) = self.answer(&mut connection, request, descriptors) {
            connection.send(&reply);
        }
        self.connections.push(connection);
        let last = self.connections.len() - 1;
        self.connections.swap(index, last);
    }

    /// Serves one request. `None` when the answer was given, or comes later.
    fn answer(
        &mut self,
        connection: &mut Connection,
        request: Request,
        descriptors: Vec<OwnedFd>,
    ) -> Option<Reply> {
        let reply = match request {
            Request::BeginCreate => return self.begin_create(connection),
            Request::Wait { target, heard } => return self.wait(connection, target, heard),
            Request::Own => {
                connection.owner = true;
                Ok(Reply::Done)
            }
            Request::Exec { process, user, terminal, streams } => {
                let begun = join(streams, descriptors).and_then(|streams| {
                    // The connection is not among them while it is served.
                    self.files.check_for_process(self.connections.len() + 1)?;
                    self.container.exec(&self.launch, &self.children, *process, (user, terminal), streams)
                });
                match begun {
                    Ok(id) => {
                        // Answered at the end of a round of the loop: this one, when it runs already.
                        connection.begins = Some(id);
                        self.reap();
                        return None;
                    }
                    Err(failure) => Err(failure),
                }
            }
            Request::Stats => self.stats().map(|stats| Reply::Stats(Box::new(stats))),
            Request::Status => {
                let exit = self.life.ended.as_ref().map(|(record, _)| record.clone());
                Ok(Reply::Status(Box::new(self.container.status(exit))))
            }
            other => self.act(other, descriptors).map(|()| Reply::Done),
        };
        // The runtime's calls let the signal of ended children through.
        self.reap();
        Some(reply.unwrap_or_else(|failure| Reply::from_result(Err(failure))))
    }

    /// The runtime's figures, and what only our mounts tell.
    fn stats(&mut self) -> Result<Stats> {
        let mut stats = self.container.stats(&self.children)?;
        if self.launch.rootfs.disk.is_some() {
            stats.disk_used = rootfs::bytes_used(&self.launch.directory.join("rootfs"));
        }
        Ok(stats)
    }

    /// Serves the requests that give nothing back.
    fn act(&mut self, request: Request, descriptors: Vec<OwnedFd>) -> Result<()> {
        let Self { container, children, .. } = self;
        match request {
            Request::FinishCreate => return self.finish_create(),
            Request::ShutDown => return self.shut_down(),
            Request::Keep => container.keep(descriptors),
            Request::Start => container.start(children)?,
            Request::Attach { streams, on_stall } => {
                container.process(&ProcessTarget::Main)?.attach(join(streams, descriptors)?, on_stall);
            }
            Request::Signal { target, signal, all } => container.signal(children, &target, signal, all)?,
            Request::Resize { target, size } => container.process(&target)?.resize(size)?,
            Request::Pause => container.pause(children, true)?,
            Request::Resume => container.pause(children, false)?,
            Request::Update { resources } => container.update(children, &resources)?,
            Request::ReopenLog => container.reopen_log()?,
            _ => return Err(Failure::new(ErrorKind::Invalid, "the shim does not serve this request now")),
        }
        Ok(())
    }

    /// Creates the container. The answer goes out as soon as its namespaces exist, while the creation goes on.
    fn begin_create(&mut self, connection: &mut Connection) -> Option<Reply> {
        if self.life.creation.is_some() {
            let failure = Failure::new(ErrorKind::Conflict, "the container was created already");
            return Some(Reply::from_result(Err(failure)));
        }
        let mut announced = false;
        let result = self.container.create(&self.launch, &self.children, &mut |pid| {
            announced = true;
            connection.send(&Reply::Created(pid));
        });
        self.reap();
        let result = result.map_err(|failure| WireFailure::new(&failure));
        let reply = match &result {
            Err(failure) if !announced => Some(Reply::Failed(failure.clone())),
            _ => None,
        };
        self.life.creation = Some(result);
        reply
    }

    fn finish_create(&mut self) -> Result<()> {
        match &self.life.creation {
            None => Err(Failure::new(ErrorKind::Conflict, "the creation has not begun")),
            Some(Ok(())) => Ok(()),
            Some(Err(failure)) => {
                self.finished = true;
                Err(failure.clone().into())
            }
        }
    }

    fn wait(&mut self, connection: &mut Connection, target: ProcessTarget, heard: bool) -> Option<Reply> {
        if let Err(failure) = self.container.process(&target) {
            return Some(Reply::from_result(Err(failure)));
        }
        // The answer is given at the end of this round of the loop, when there is one already.
        connection.waits_for = Some(target);
        connection.hears_out = heard;
        None
    }
}

fn join(streams: StreamSet, descriptors: Vec<OwnedFd>) -> Result<loam_model::Streams> {
    streams.join(descriptors).ok_or_else(|| {
        Failure::new(ErrorKind::Invalid, "the streams' descriptors did not come with the request")
    })
}
