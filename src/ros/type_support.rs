//! Type supports, loaded at run time from the sourced ROS environment.

use std::collections::HashMap;
use std::env;
use std::ffi::{CStr, OsStr};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use libloading::Library;
use r2r_rcl::rosidl_message_type_support_t;

use super::introspection::{self, UnsupportedShape};
use super::type_hash::TypeHash;
use iot_bridge_core::codec::Schema;

/// A message type that can be subscribed to and decoded.
pub struct TypeSupport {
    handle: *const rosidl_message_type_support_t,
    schema: Arc<Schema>,
    /// Keeps `handle` and rosidl's tables mapped, for good: DDS may have kept something of them, and the environment has
    /// no more than so many.
    _libraries: [ManuallyDrop<Library>; 2],
}

/// Why a message type can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TypeSupportError {
    /// The name is not of the form `package/msg/Name`.
    #[error("`{0}` is not the name of a message type (like std_msgs/msg/String)")]
    Name(String),
    /// No prefix of the environment has the package, or it was built without C type support.
    #[error(
        "package `{package}` is not in the ROS environment: {library} is in none of AMENT_PREFIX_PATH ({searched}). \
         Source the workspace that has it; for the service, add its setup file to ROS_SETUP in \
         /etc/default/iot-bridge and restart"
    )]
    PackageMissing { package: String, library: String, searched: String },
    /// The package is there, but does not have this type.
    #[error("package `{package}` has no type `{name}` ({library})")]
    TypeMissing { package: String, name: String, library: PathBuf },
    /// The dynamic linker refused.
    #[error("{library} could not be loaded: {reason}")]
    Load { library: PathBuf, reason: String },
    /// The bridge can't carry messages of this shape.
    #[error(transparent)]
    Shape(#[from] UnsupportedShape),
}

impl TypeSupport {
    /// Loads the type support of `type_name` (`package/msg/Name`) from the prefixes in `AMENT_PREFIX_PATH`.
    ///
    /// # Errors
    /// See [`TypeSupportError`]; all of them can heal when the environment does.
    pub fn load(type_name: &str) -> Result<TypeSupport, TypeSupportError> {
        let prefixes = env::var_os("AMENT_PREFIX_PATH").unwrap_or_default();
        load_from(type_name, &prefixes)
    }

    /// The shape of the type.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    pub(super) fn handle(&self) -> *const rosidl_message_type_support_t {
        self.handle
    }

    /// The hash of the definition that is sourced; `None` where there is none to tell.
    pub(super) fn definition(&self) -> Option<TypeHash> {
        // SAFETY: the library that the handle points into is kept loaded.
        unsafe { TypeHash::of_type(self.handle) }
    }
}

/// The shape of `type_name` (`package/msg/Name`) in the sourced environment.
///
/// # Errors
/// As of [`TypeSupport::load`].
pub fn schema_of(type_name: &str) -> Result<Arc<Schema>, TypeSupportError> {
    Ok(Arc::clone(TypeSupport::load(type_name)?.schema()))
}

fn load_from(type_name: &str, prefixes: &OsStr) -> Result<TypeSupport, TypeSupportError> {
    let parts: Vec<&str> = type_name.split('/').collect();
    let [package, namespace, name] = parts.as_slice() else {
        return Err(TypeSupportError::Name(type_name.to_owned()));
    };
    if ![package, namespace, name].iter().all(|part| is_identifier(part)) {
        return Err(TypeSupportError::Name(type_name.to_owned()));
    }
    let open = |kind: &str| -> Result<(Library, *const rosidl_message_type_support_t), TypeSupportError> {
        let path = find(package, kind, prefixes)?;
        let library = open_library(&path)?;
        let symbol = format!("{kind}__get_message_type_support_handle__{package}__{namespace}__{name}");
        // SAFETY: rosidl generates this symbol as a function without arguments that returns a static structure.
        let handle = unsafe {
            let function: libloading::Symbol<unsafe extern "C" fn() -> *const rosidl_message_type_support_t> =
                library.get(symbol.as_bytes()).map_err(|_| TypeSupportError::TypeMissing {
                    package: (*package).to_owned(),
                    name: (*name).to_owned(),
                    library: path.clone(),
                })?;
            function()
        };
        if handle.is_null() {
            return Err(TypeSupportError::Load { library: path, reason: format!("{symbol} answers nothing") });
        }
        Ok((library, handle))
    };
    let (library, handle) = open("rosidl_typesupport_c")?;
    let (introspection_library, introspection) = open("rosidl_typesupport_introspection_c")?;
    // SAFETY: the function of that name in the introspection library answers a type support of that kind, whose data
    // is the members table; the library is kept beside it.
    let schema = unsafe { introspection::schema((*introspection).data.cast())? };
    Ok(TypeSupport { handle, schema, _libraries: [library, introspection_library].map(ManuallyDrop::new) })
}

fn is_identifier(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The library of `package` with type supports of `kind`, in the first prefix that has it.
fn find(package: &str, kind: &str, prefixes: &OsStr) -> Result<PathBuf, TypeSupportError> {
    let file = format!("lib{package}__{kind}.so");
    // An empty or relative prefix would mean the working directory, where anybody may have put a library.
    let mut candidates =
        env::split_paths(prefixes).filter(|prefix| prefix.is_absolute()).map(|prefix| prefix.join("lib").join(&file));
    candidates.find(|path| path.is_file()).ok_or_else(|| TypeSupportError::PackageMissing {
        package: package.to_owned(),
        library: file.clone(),
        searched: prefixes.to_string_lossy().into_owned(),
    })
}

fn open_library(path: &Path) -> Result<Library, TypeSupportError> {
    // SAFETY: running a library's initialisers is what loading a ROS message package means; the path comes from the
    // environment that the administrator sourced.
    unsafe { Library::new(path) }
        .map_err(|error| TypeSupportError::Load { library: path.to_owned(), reason: error.to_string() })
}

/// The type supports that are in use, each loaded once.
#[derive(Default)]
pub(super) struct TypeSupports {
    loaded: HashMap<String, Weak<TypeSupport>>,
}

impl TypeSupports {
    pub(super) fn get(&mut self, type_name: &str) -> Result<Arc<TypeSupport>, TypeSupportError> {
        if let Some(found) = self.loaded.get(type_name).and_then(Weak::upgrade) {
            return Ok(found);
        }
        let loaded = Arc::new(TypeSupport::load(type_name)?);
        self.loaded.retain(|_, support| support.strong_count() > 0);
        self.loaded.insert(type_name.to_owned(), Arc::downgrade(&loaded));
        Ok(loaded)
    }
}

// SAFETY: the handle points to static data of a library that is kept loaded; rosidl only reads it.
unsafe impl Send for TypeSupport {}
// SAFETY: as above.
unsafe impl Sync for TypeSupport {}

/// Name of the RMW implementation in use, such as `rmw_fastrtps_cpp`.
pub(super) fn rmw_name() -> String {
    // SAFETY: answers a static NUL-terminated text.
    unsafe { CStr::from_ptr(r2r_rcl::rmw_get_implementation_identifier()) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_bridge_core::codec::{Count, Kind};

    #[test]
    fn loads_a_type_that_the_program_was_not_built_with() {
        let support = TypeSupport::load("geometry_msgs/msg/PoseWithCovariance").unwrap();
        let schema = support.schema();
        assert_eq!(schema.name, "geometry_msgs/msg/PoseWithCovariance");
        assert_eq!(schema.fields[0].name, "pose");
        let Kind::Message(pose) = &schema.fields[0].kind else { panic!("{schema:?}") };
        assert_eq!(pose.name, "geometry_msgs/msg/Pose");
        assert_eq!((&schema.fields[1].kind, schema.fields[1].count), (&Kind::F64, Count::Array(36)));
    }

    /// A type is loaded once for all who use it at a time, and forgotten when nobody does; its library stays.
    #[test]
    fn types_that_nobody_uses_are_forgotten() {
        let mut types = TypeSupports::default();
        let used = types.get("std_msgs/msg/String").unwrap();
        assert!(Arc::ptr_eq(&used, &types.get("std_msgs/msg/String").unwrap()));
        for name in ["Bool", "Byte", "Char", "Empty", "Header"] {
            let definition = types.get(&format!("std_msgs/msg/{name}")).unwrap().definition();
            assert!(types.loaded.len() <= 2, "{name}");
            assert_eq!(types.get(&format!("std_msgs/msg/{name}")).unwrap().definition(), definition);
        }
    }

    #[test]
    fn a_message_without_fields_has_none() {
        assert!(TypeSupport::load("std_msgs/msg/Empty").unwrap().schema().fields.is_empty());
    }

    /// Nothing is loaded from the working directory, which an empty or relative prefix would mean.
    #[test]
    fn only_absolute_prefixes_are_searched() {
        let directory = tempfile::tempdir().unwrap();
        let prefix = directory.path().join("prefix");
        std::fs::create_dir_all(prefix.join("lib")).unwrap();
        std::fs::write(prefix.join("lib/liba_msgs__kind.so"), "").unwrap();
        // Each test is a process of its own.
        env::set_current_dir(&prefix).unwrap();
        for prefixes in ["", ":", ".", "./", "../prefix", ":../prefix:."] {
            let found = find("a_msgs", "kind", OsStr::new(prefixes));
            assert!(matches!(found, Err(TypeSupportError::PackageMissing { .. })), "{prefixes:?} finds {found:?}");
        }
        let path = prefix.join("lib/liba_msgs__kind.so");
        let prefixes = env::join_paths(["", "../prefix", prefix.to_str().unwrap()]).unwrap();
        assert_eq!(find("a_msgs", "kind", &prefixes).unwrap(), path);
    }

    #[test]
    fn what_is_missing_is_named() {
        let load = |name: &str| TypeSupport::load(name).err().expect("should fail").to_string();
        assert!(load("no_such_msgs/msg/Thing").contains("package `no_such_msgs` is not in the ROS environment"));
        assert!(load("std_msgs/msg/NoSuchThing").contains("package `std_msgs` has no type `NoSuchThing`"));
        for wrong in ["String", "std_msgs/String", "std_msgs/msg/", "../../etc/passwd", "a/b/c/d", "std_msgs/msg/St\0"]
        {
            assert!(load(wrong).contains("is not the name of a message type"), "{wrong}");
        }
    }
}
