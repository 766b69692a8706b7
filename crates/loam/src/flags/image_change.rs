//! `import --change INSTRUCTION`: the instructions of a Dockerfile that set an image's configuration.

use loam_model::{ImageConfig, shown};

use super::Parsed;

/// Applies one instruction.
pub(crate) fn apply_change(config: &mut ImageConfig, text: &str) -> Parsed<()> {
    let malformed = || format!("`{}` is not an instruction with its words", shown(text));
    let (instruction, rest) = text.trim().split_once(char::is_whitespace).ok_or_else(malformed)?;
    let rest = rest.trim();
    match instruction.to_ascii_uppercase().as_str() {
        "CMD" => config.command = command(rest)?,
        "ENTRYPOINT" => config.entrypoint = command(rest)?,
        "ENV" => config.environment.push(pair(rest, malformed)?),
        "EXPOSE" => config.exposed_ports.extend(rest.split_whitespace().map(exposed)),
        "LABEL" => {
            let pair = pair(rest, malformed)?;
            let (key, value) = pair.split_once('=').unwrap_or((&pair, ""));
            config.labels.insert(key.to_owned(), value.to_owned());
        }
        "STOPSIGNAL" => config.stop_signal = Some(super::words::signal_text(rest)?),
        "USER" => config.user = Some(rest.to_owned()),
        "VOLUME" => config.volumes.extend(rest.split_whitespace().map(str::to_owned)),
        "WORKDIR" => config.working_directory = Some(rest.to_owned()),
        _ => {
            return Err(format!(
                "`{}` is not one of CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR",
                shown(instruction)
            ));
        }
    }
    Ok(())
}

/// A command: a JSON list of words, or a line for the shell.
fn command(text: &str) -> Parsed<Vec<String>> {
    if text.starts_with('[') {
        return serde_json::from_str(text)
            .map_err(|_| format!("`{}` is no list of words in JSON, such as [\"sh\",\"-c\"]", shown(text)));
    }
    Ok(["/bin/sh", "-c", text].map(str::to_owned).to_vec())
}

/// `KEY=VALUE`, or the older `KEY VALUE`; quotes around the value are taken away.
fn pair(text: &str, malformed: impl Fn() -> String) -> Parsed<String> {
    let (key, value) = text.split_once(['=', ' ']).ok_or_else(&malformed)?;
    let value = value.trim();
    let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    match key.is_empty() {
        true => Err(malformed()),
        false => Ok(format!("{key}={unquoted}")),
    }
}

fn exposed(port: &str) -> String {
    if port.contains('/') { port.to_owned() } else { format!("{port}/tcp") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_change_the_configuration() {
        let mut config = ImageConfig::default();
        for text in [
            "CMD [\"sh\", \"-l\"]",
            "entrypoint exec top",
            "ENV A=1",
            "ENV B two words",
            "LABEL a=\"b c\"",
            "EXPOSE 80 53/udp",
            "WORKDIR /srv",
            "USER 1000:1000",
            "STOPSIGNAL SIGINT",
        ] {
            apply_change(&mut config, text).expect(text);
        }
        assert_eq!(config.command, ["sh", "-l"]);
        assert_eq!(config.entrypoint, ["/bin/sh", "-c", "exec top"]);
        assert_eq!(config.environment, ["A=1", "B=two words"]);
        assert_eq!(config.labels["a"], "b c");
        assert_eq!(config.exposed_ports, ["80/tcp", "53/udp"]);
        assert_eq!(config.working_directory.as_deref(), Some("/srv"));
        for text in ["", "CMD", "RUN true", "CMD [sh]", "ENV =x", "STOPSIGNAL NONE"] {
            assert!(apply_change(&mut config, text).is_err(), "{text}");
        }
    }
}
