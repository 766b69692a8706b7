//! Logs as lager writes them, one JSON object a line, because Guardian reads them so.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use crate::config::Config;
use crate::error::GrootfsError;

const SOURCE: &str = "grootfs";

/// Starts logging as the configuration says.
pub(crate) fn start(config: &Config) -> Result<(), GrootfsError> {
    let mut level = level(&config.log_level);
    let writer: Box<dyn Write + Send> = match &config.log_file {
        None => Box::new(io::stderr()),
        Some(path) => {
            if level == LevelFilter::OFF {
                level = LevelFilter::INFO;
            }
            let file = File::options().append(true).create(true).mode(0o644).open(path).map_err(|error| {
                GrootfsError::said(format!("opening log file `{}`: {error}", path.display()))
            })?;
            Box::new(file)
        }
    };
    if level == LevelFilter::OFF {
        return Ok(());
    }
    let lager = Lager { writer: Mutex::new(writer) }.with_filter(level);
    // Who has started another log keeps it.
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lager)).ok();
    Ok(())
}

/// GrootFS's words; any other is the last of them, which is as good as silence.
fn level(word: &str) -> LevelFilter {
    match word {
        "debug" => LevelFilter::DEBUG,
        "info" => LevelFilter::INFO,
        "error" => LevelFilter::ERROR,
        _ => LevelFilter::OFF,
    }
}

struct Lager {
    writer: Mutex<Box<dyn Write + Send>>,
}

impl<S: Subscriber> Layer<S> for Lager {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let stamp = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
        let line = line(event, &stamp);
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that can't be written is nobody's error.
        writer.write_all(line.as_bytes()).ok();
    }
}

fn line(event: &Event<'_>, stamp: &str) -> String {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let number = match *event.metadata().level() {
        Level::ERROR | Level::WARN => 2,
        Level::INFO => 1,
        Level::DEBUG | Level::TRACE => 0,
    };
    let message = format!("{SOURCE}.{}", fields.message);
    let log = json!({
        "timestamp": stamp, "source": SOURCE, "message": message, "log_level": number, "data": fields.data,
    });
    format!("{log}\n")
}

#[derive(Default)]
struct Fields {
    message: String,
    data: Map<String, Value>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.data.insert(field.name().to_owned(), text.into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.data.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.data.insert(field.name().to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_lager_s() {
        let shared = Shared::default();
        let lager = Lager { writer: Mutex::new(Box::new(shared.clone())) }.with_filter(level("info"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lager), || {
            tracing::error!(error = "no", bytes = 5_u64, "create.failed");
            tracing::debug!("unheard");
        });
        let text = String::from_utf8(shared.0.lock().expect("no panic").clone()).expect("text");
        let line: Value = serde_json::from_str(&text).expect("one line of JSON");
        assert_eq!(line["message"], "grootfs.create.failed");
        assert_eq!((&line["log_level"], &line["source"]), (&json!(2), &json!("grootfs")));
        assert_eq!(line["data"], json!({ "error": "no", "bytes": 5 }));
        assert_eq!(level("fatal"), LevelFilter::OFF);
    }
}
