//! The program, its arguments and its environment.

use std::path::{Component, Path};

use loam_model::{ContainerSpec, ErrorKind, Failure, ImageConfig, Result, shown};

/// Where programs are looked for when neither the image nor the person says.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What a terminal is called when nobody says.
const DEFAULT_TERM: &str = "xterm";

/// The program and its arguments: the image's entry point and command unless replaced. A replaced entry point drops the
/// image's command, which belonged to the old one.
pub(super) fn arguments(
    spec: &ContainerSpec,
    image: &ImageConfig,
    init: Option<&str>,
) -> Result<Vec<String>> {
    let own = spec.command.clone();
    let mut arguments: Vec<String> = match &spec.entrypoint {
        // An empty entry point, which the command line writes as an empty text, clears the image's.
        Some(entrypoint) => {
            entrypoint.iter().filter(|text| entrypoint.len() > 1 || !text.is_empty()).cloned().collect()
        }
        None => image.entrypoint.clone(),
    };
    arguments.extend(match (&spec.entrypoint, own) {
        (_, Some(command)) => command,
        (Some(_), None) => Vec::new(),
        (None, None) => image.command.clone(),
    });
    check_arguments(&arguments)?;
    if let Some(init) = init {
        arguments.splice(0..0, [init.to_owned(), "--".to_owned()]);
    }
    Ok(arguments)
}

/// Refuses arguments that can't be handed to a program.
pub(super) fn check_arguments(arguments: &[String]) -> Result<()> {
    match arguments.first() {
        None => Err(Failure::new(ErrorKind::Invalid, "the container has no command to run")
            .hint("the image names none, so that one has to be given")),
        Some(program) if program.is_empty() => {
            Err(Failure::new(ErrorKind::Invalid, "the command's first word, the program, is empty"))
        }
        Some(_) if arguments.iter().any(|argument| argument.contains('\0')) => {
            Err(Failure::new(ErrorKind::Invalid, "an argument of the command holds a zero byte"))
        }
        Some(_) => Ok(()),
    }
}

/// The environment: what the engine knows, then the image's, then the person's; the last of a key wins.
pub(super) fn environment(
    spec: &ContainerSpec,
    image: &ImageConfig,
    hostname: &str,
    warnings: &mut Vec<String>,
) -> Result<Vec<String>> {
    let mut all = vec![format!("PATH={DEFAULT_PATH}"), format!("HOSTNAME={hostname}")];
    if spec.terminal {
        all.push(format!("TERM={DEFAULT_TERM}"));
    }
    for variable in &image.environment {
        if check_variable(variable) {
            all.push(variable.clone());
        } else {
            warnings.push(format!(
                "environment variable `{}` of the image is left out: it has no name",
                shown(variable)
            ));
        }
    }
    add_variables(&mut all, &spec.environment)?;
    Ok(all.into_iter().fold(Vec::new(), set))
}

/// The environment of a further process: the container's, then the person's.
pub(super) fn further_environment(
    container: &[String],
    asked: &[String],
    terminal: bool,
) -> Result<Vec<String>> {
    let mut all = container.to_vec();
    if terminal && !all.iter().any(|variable| variable.starts_with("TERM=")) {
        all.push(format!("TERM={DEFAULT_TERM}"));
    }
    add_variables(&mut all, asked)?;
    Ok(all.into_iter().fold(Vec::new(), set))
}

fn add_variables(all: &mut Vec<String>, asked: &[String]) -> Result<()> {
    for variable in asked {
        if !check_variable(variable) {
            let message = format!("environment variable `{}` is not of the form KEY=VALUE", shown(variable));
            return Err(Failure::new(ErrorKind::Invalid, message));
        }
        all.push(variable.clone());
    }
    Ok(())
}

/// Sets a variable, in the place of an older one of the same key.
fn set(mut all: Vec<String>, variable: String) -> Vec<String> {
    let key = |text: &str| text.find('=').map_or(text.len(), |at| at + 1);
    let end = key(&variable);
    match all.iter_mut().find(|older| older.get(..end) == Some(&variable[..end])) {
        Some(older) => *older = variable,
        None => all.push(variable),
    }
    all
}

fn check_variable(variable: &str) -> bool {
    !variable.contains('\0') && variable.find('=').is_some_and(|at| at > 0)
}

/// The working directory: absolute, without detours. An image's may lack the slash.
pub(super) fn working_directory(asked: Option<&str>, image: Option<&str>) -> Result<String> {
    if let Some(asked) = asked.filter(|asked| !asked.starts_with('/')) {
        let message = format!("working directory `{}` is not an absolute path", shown(asked));
        return Err(Failure::new(ErrorKind::Invalid, message));
    }
    let path = asked.or(image.filter(|path| !path.is_empty())).unwrap_or("/");
    if path.contains('\0') {
        return Err(Failure::new(ErrorKind::Invalid, "the working directory holds a zero byte"));
    }
    Ok(clean(path))
}

/// The shortest text of an absolute path of the container; `..` can't lead above its root.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => parts.push(name.to_str().expect("part of a text")),
            Component::ParentDir => drop(parts.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn entry_point_and_command() {
        let image = ImageConfig { entrypoint: texts(&["e"]), command: texts(&["c"]), ..Default::default() };
        let table: &[(Option<&[&str]>, Option<&[&str]>, Option<&[&str]>)] = &[
            (None, None, Some(&["e", "c"])),
            (None, Some(&["x", "y"]), Some(&["e", "x", "y"])),
            (None, Some(&[]), Some(&["e"])),
            (Some(&["n", "m"]), None, Some(&["n", "m"])),
            (Some(&["n"]), Some(&["x"]), Some(&["n", "x"])),
            (Some(&[""]), Some(&["x"]), Some(&["x"])),
            (Some(&[]), None, None),
            (Some(&["n"]), Some(&[""]), Some(&["n", ""])),
        ];
        for &(entrypoint, command, expected) in table {
            let spec = ContainerSpec {
                entrypoint: entrypoint.map(texts),
                command: command.map(texts),
                ..Default::default()
            };
            let answer = arguments(&spec, &image, None).ok();
            assert_eq!(answer, expected.map(texts), "{entrypoint:?} {command:?}");
            let with_init = arguments(&spec, &image, Some("/.init")).ok();
            assert_eq!(with_init, expected.map(|words| [texts(&["/.init", "--"]), texts(words)].concat()));
        }
    }

    #[test]
    fn the_last_of_a_key_wins() {
        let image =
            ImageConfig { environment: texts(&["PATH=/bin", "A=1", "=x", "B"]), ..Default::default() };
        let spec =
            ContainerSpec { environment: texts(&["A=2=3", "C="]), terminal: true, ..Default::default() };
        let mut warnings = Vec::new();
        let all = environment(&spec, &image, "h", &mut warnings).expect("valid");
        assert_eq!(all, ["PATH=/bin", "HOSTNAME=h", "TERM=xterm", "A=2=3", "C="]);
        assert_eq!(warnings.len(), 2);
        for bad in ["A", "=b", "", "A=\0"] {
            let spec = ContainerSpec { environment: texts(&[bad]), ..Default::default() };
            assert!(environment(&spec, &image, "h", &mut warnings).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn working_directories() {
        let table = [
            (None, None, "/"),
            (None, Some(""), "/"),
            (None, Some("app"), "/app"),
            (Some("/a//b/./c/"), Some("/x"), "/a/b/c"),
            (Some("/../../etc"), None, "/etc"),
        ];
        for (asked, image, expected) in table {
            assert_eq!(working_directory(asked, image).expect("valid"), expected);
        }
        assert!(working_directory(Some("a"), None).is_err());
        assert!(working_directory(Some(""), None).is_err());
    }

    proptest! {
        #[test]
        fn a_clean_path_is_absolute_and_stays_so(path in "[a/.]{0,12}") {
            let once = clean(&path);
            prop_assert!(once.starts_with('/') && !once.contains("//") && !once.split('/').any(|part| part == ".."));
            prop_assert_eq!(clean(&once), once);
        }
    }
}
