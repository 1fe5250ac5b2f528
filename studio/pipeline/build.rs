//! Lists the files of `base/` for `src/embedded.rs`, so that the crate also builds where the bundle is not there.

use std::{env, fs, io, path::Path};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=base");
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("base");
    let mut paths: Vec<_> =
        fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    let mut list = String::from("[\n");
    for path in paths {
        println!("cargo:rerun-if-changed={}", path.display());
        let extension = path.extension().and_then(|extension| extension.to_str());
        if let (Some("json" | "safetensors"), Some(name)) = (extension, path.file_name().and_then(|name| name.to_str()))
        {
            list += &format!("    ({name:?}, include_bytes!({path:?}).as_slice()),\n");
        }
    }
    list += "]\n";
    fs::write(Path::new(&env::var("OUT_DIR").unwrap_or_default()).join("embedded_base.rs"), list)
}
