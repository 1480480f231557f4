#!/usr/bin/env bash
# custom_package.sh DIRECTORY [FIELD]: generates the message package probe_msgs, which nothing else has, builds it with
# the sourced ROS and installs it into DIRECTORY/install. With FIELD, like "int32 revision", there are only the types Sample
# and Plain, with this field before all others: a build of the package that differs from another in it. Sourcing
# DIRECTORY/setup.bash, or setting the variables of DIRECTORY/environment (one NAME=value a line), puts it into the
# environment. Takes half a minute of a processor, and nothing where DIRECTORY has it already.
set -euo pipefail
: "${AMENT_PREFIX_PATH:?a ROS environment has to be sourced}"

directory=$(readlink -m "$1")
field=${2:-}
types='"msg/Sample.msg" "msg/Plain.msg"'
[ -n "$field" ] || types+=' "msg/Probe.msg"'
source=$directory/probe_msgs

# What it is made of: this script, the field, and which ROS that is, installed when.
parts=$(
  {
    cat "$0"
    printf '%s\n' "$directory" "$field" "$AMENT_PREFIX_PATH"
    IFS=:
    for prefix in $AMENT_PREFIX_PATH; do ls -l --time-style=full-iso "$prefix/lib/librcl.so" 2>/dev/null || true; done
  } | cksum
)
mkdir -p "${directory%/*}"
exec {lock}>"$directory.lock"
flock "$lock"
if [ "$(cat "$directory/parts" 2>/dev/null)" = "$parts" ]; then exit; fi
rm -rf "$directory"
mkdir -p "$source/msg"

cat >"$source/package.xml" <<'XML'
<?xml version="1.0"?>
<package format="3">
  <name>probe_msgs</name>
  <version>0.1.0</version>
  <description>Messages that only the tests of iot-bridge know.</description>
  <maintainer email="nobody@example.com">The iot-bridge authors</maintainer>
  <license>Apache-2.0</license>
  <buildtool_depend>ament_cmake</buildtool_depend>
  <buildtool_depend>rosidl_default_generators</buildtool_depend>
  <depend>std_msgs</depend>
  <exec_depend>rosidl_default_runtime</exec_depend>
  <member_of_group>rosidl_interface_packages</member_of_group>
  <export><build_type>ament_cmake</build_type></export>
</package>
XML

cat >"$source/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.16)
project(probe_msgs)
find_package(ament_cmake REQUIRED)
find_package(rosidl_default_generators REQUIRED)
find_package(std_msgs REQUIRED)
rosidl_generate_interfaces(${PROJECT_NAME} @TYPES@ DEPENDENCIES std_msgs)
ament_package()
CMAKE

sed -i "s#@TYPES@#$types#" "$source/CMakeLists.txt"

cat >"$source/msg/Sample.msg" <<MSG
uint8 KIND_UNKNOWN=0
uint8 KIND_PROBE=7
string UNIT="°C"

$field
uint8 kind
bool valid
float32 value 0.1
float64[2] range
string<=8 unit
byte[3] raw
MSG

# Each message has the same size.
cat >"$source/msg/Plain.msg" <<MSG
$field
int32 number
float64 value
MSG

# "null" and "type" mean something in JSON and Rust, not here. The wide, narrow, wide fields need padding between them.
cat >"$source/msg/Probe.msg" <<'MSG'
int32 LIMIT=-5
wstring GREETING="grüß dich"

std_msgs/Header header
wstring name "probe"
wstring<=6 short_name
string<=12[<=3] labels
int64 null
uint8 type
float64 true_value
Sample first
Sample[2] pair
Sample[<=2] few
Sample[] many
uint8[] blob
bool[5] flags
wstring[] names
char letter
uint64[<=4] counters
MSG

# Left to itself CMake takes the newest Python of the machine, not the one of the environment.
if ! {
  cmake -S "$source" -B "$directory/build" -DCMAKE_INSTALL_PREFIX="$directory/install" -DCMAKE_BUILD_TYPE=None \
    -DBUILD_TESTING=OFF -DPython3_EXECUTABLE="$(command -v python3)" &&
    cmake --build "$directory/build" --parallel "$(nproc)" --target install
} >"$directory/build.log" 2>&1; then
  tail -n 40 "$directory/build.log" >&2
  exit 1
fi

site=$(find "$directory/install" -type d -name '*-packages' | head -n 1)
cat >"$directory/environment" <<ENVIRONMENT
AMENT_PREFIX_PATH=$directory/install:$AMENT_PREFIX_PATH
CMAKE_PREFIX_PATH=$directory/install${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}
LD_LIBRARY_PATH=$directory/install/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}
ENVIRONMENT
sed "s/=\(.*\)/='\1'/; s/^/export /" "$directory/environment" >"$directory/setup.bash"
printf '%s\n' "$parts" >"$directory/parts"
