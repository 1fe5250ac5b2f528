//! A program that is talked to by lines: started, fed, listened to, ended. Three threads keep its pipes from filling up,
//! so that neither side ever waits for the other without a limit.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::{BufRead as _, BufReader, Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::protocol::excerpt;

/// Longest line that a program may write, in bytes.
const LINE_MAX: u64 = 1 << 20;
/// Lines of the error stream that are kept for messages.
const STDERR_LINES: usize = 12;
/// Answers that may wait to be read before the program is held up.
const LINES_WAITING: usize = 256;
/// How long a program whose input has ended may take to end by itself.
const GRACE: Duration = Duration::from_millis(500);
/// How often an ending program is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// How a program is started.
#[derive(Debug, Clone)]
pub(super) struct Program {
    command: Vec<String>,
    folder: PathBuf,
}

/// What a program wrote to its output, a line at a time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its end.
    Text(String),
    /// Something that is no line: too long, or no UTF-8.
    Broken(String),
}

/// Why no line came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// The output has ended.
    Ended,
    /// Time is up.
    TimedOut,
}

/// A program under way. Dropping it closes its input and, where it does not end by itself, kills it and its group.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// To the thread that writes; dropping it closes the program's input.
    requests: Option<Sender<Vec<u8>>>,
    lines: Receiver<Line>,
    errors: Arc<Mutex<VecDeque<String>>>,
    /// Disconnects when the error stream has ended.
    errors_end: Receiver<()>,
    ended: Option<ExitStatus>,
}

impl Program {
    /// The program and its arguments, run in `folder`. A program's name with a separator is relative to the folder.
    pub(super) fn new(command: &[String], folder: &Path) -> Result<Self, String> {
        // An absolute folder: what a relative program name is relative to differs from system to system.
        let folder = std::path::absolute(folder).map_err(|error| format!("no folder {}: {error}", folder.display()))?;
        let mut command = command.to_vec();
        if let Some(program) = command.first_mut()
            && Path::new(program.as_str()).components().count() > 1
        {
            *program = folder.join(&*program).to_string_lossy().into_owned();
        }
        Ok(Self { command, folder })
    }

    /// Starts it.
    ///
    /// # Errors
    /// In words, when there is no such program or folder, or no thread for its pipes.
    pub(super) fn start(&self) -> Result<Running, String> {
        let Some((program, arguments)) = self.command.split_first() else { return Err("no command".into()) };
        let failed = |error: &dyn std::fmt::Display| {
            format!("cannot start {:?} in {}: {error}", self.command, self.folder.display())
        };
        if !self.folder.is_dir() {
            return Err(failed(&"no such folder"));
        }
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: all of it can be ended at once, and Ctrl-C goes to us alone.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|error| failed(&error))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (to_writer, from_us) = channel();
        let (to_us, lines) = sync_channel(LINES_WAITING);
        let (errors_going, errors_end) = channel();
        let errors = Arc::new(Mutex::new(VecDeque::new()));
        // From here on its drop ends the program, whatever happens.
        let running =
            Running { child, requests: Some(to_writer), lines, errors: Arc::clone(&errors), errors_end, ended: None };
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else { return Err(failed(&"no pipes")) };
        thread_of("judge-in", move || write_requests(stdin, &from_us)).map_err(|error| failed(&error))?;
        thread_of("judge-out", move || read_lines(stdout, &to_us)).map_err(|error| failed(&error))?;
        thread_of("judge-err", move || read_errors(stderr, &errors, errors_going)).map_err(|error| failed(&error))?;
        Ok(running)
    }
}

fn thread_of(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    // Nobody waits for these threads: they end with the pipes, which a grandchild of the program may hold open.
    thread::Builder::new().name(name.into()).spawn(work).map(drop)
}

fn write_requests(mut stdin: ChildStdin, requests: &Receiver<Vec<u8>>) {
    for bytes in requests {
        if stdin.write_all(&bytes).and_then(|()| stdin.flush()).is_err() {
            // It reads no more. Whether that matters, its answers tell.
            return;
        }
    }
}

fn read_lines(stdout: impl Read, lines: &SyncSender<Line>) {
    let mut reader = BufReader::new(stdout);
    loop {
        let mut bytes = Vec::new();
        let line = match (&mut reader).take(LINE_MAX + 1).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(_) if bytes.len() as u64 > LINE_MAX => {
                let start = excerpt(&String::from_utf8_lossy(&bytes[..1024]));
                Line::Broken(format!("a line of more than {LINE_MAX} bytes: {start}"))
            }
            Ok(_) => match String::from_utf8(bytes) {
                Ok(text) if text.trim().is_empty() => continue,
                Ok(text) => Line::Text(text.trim_end_matches(['\n', '\r']).to_string()),
                Err(error) => {
                    let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                    Line::Broken(format!("a line that is no UTF-8: {}", excerpt(&text)))
                }
            },
        };
        let broken = matches!(line, Line::Broken(_));
        if lines.send(line).is_err() || broken {
            return;
        }
    }
}

fn read_errors(stderr: impl Read, kept: &Mutex<VecDeque<String>>, _going: Sender<()>) {
    let mut reader = BufReader::new(stderr);
    loop {
        let mut bytes = Vec::new();
        // A longer line comes in pieces.
        match (&mut reader).take(4096).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&bytes);
        if text.trim().is_empty() {
            continue;
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == STDERR_LINES {
            kept.pop_front();
        }
        kept.push_back(excerpt(text.trim_end()));
    }
}

impl Running {
    /// Hands `bytes` to the program, without waiting for it to read them.
    pub(super) fn send(&self, bytes: Vec<u8>) {
        if let Some(requests) = &self.requests {
            // A program that no longer reads shows in its answers.
            let _ = requests.send(bytes);
        }
    }

    /// The next line that it writes, until `deadline`.
    pub(super) fn next(&self, deadline: Instant) -> Result<Line, Missing> {
        self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).map_err(|error| match error {
            RecvTimeoutError::Timeout => Missing::TimedOut,
            RecvTimeoutError::Disconnected => Missing::Ended,
        })
    }

    /// Ends the program and says how it ended, with the last lines of its error stream.
    pub(super) fn epitaph(mut self, missing: Option<Missing>) -> String {
        // Where it closed its output it is about to end, and its own status says more than ours.
        let patience = if missing == Some(Missing::Ended) { GRACE } else { Duration::ZERO };
        self.wait_until(Instant::now() + patience);
        let itself = self.ended;
        // Its children may live on, with what they hold.
        self.kill_group();
        self.kill();
        // What it wrote last may still be on its way.
        let _ = self.errors_end.recv_timeout(GRACE);
        let mut text = match itself {
            Some(status) => format!("it ended by itself ({status})"),
            None if missing == Some(Missing::Ended) => "it closed its output".to_string(),
            None => "it was ended".to_string(),
        };
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.is_empty() {
            text += "; it wrote nothing to its error stream";
        } else {
            text += "; the last lines of its error stream:";
            for line in errors.iter() {
                let _ = write!(text, "\n  {line}");
            }
        }
        text
    }

    /// Waits for the program to end by itself.
    fn wait_until(&mut self, deadline: Instant) {
        while self.ended.is_none() {
            match self.child.try_wait() {
                Ok(Some(status)) => self.ended = Some(status),
                Ok(None) if Instant::now() < deadline => thread::sleep(LOOK),
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Kills whatever is left of the program's group. While anything is, the group's number belongs to nobody else.
    fn kill_group(&self) {
        #[cfg(unix)]
        if let Ok(group) = i32::try_from(self.child.id()) {
            use nix::{
                sys::signal::{Signal, killpg},
                unistd::Pid,
            };
            // An error means that there is nobody.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }

    /// Kills the program with its group and takes its status, so that no zombie stays.
    fn kill(&mut self) {
        self.requests = None;
        if self.ended.is_some() {
            return;
        }
        self.kill_group();
        // An error means that it is gone already.
        let _ = self.child.kill();
        self.ended = self.child.wait().ok();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.requests = None;
        self.wait_until(Instant::now() + GRACE);
        self.kill();
    }
}
