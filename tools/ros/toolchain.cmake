# Read by every CMake in the environment from wheels (CMAKE_TOOLCHAIN_FILE), so that a plain
# `colcon build` works there: interface packages are built without C++, as those below them were.
# Nothing in that environment is C++: there is no wheel of rclcpp.
get_property(_trial GLOBAL PROPERTY IN_TRY_COMPILE)
if(NOT _trial AND NOT DEFINED CMAKE_PROJECT_INCLUDE)
  set(CMAKE_PROJECT_INCLUDE "${CMAKE_CURRENT_LIST_DIR}/slim_unity.cmake")
endif()
unset(_trial)
