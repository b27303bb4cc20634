# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` lays down: the tool, libqimg (shared and static), headers, qimg.pc, the
# CMake package (qimg::qimg, qimg::static), man pages, shell completions, documents.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/qimg)

set_target_properties(qimg_shared PROPERTIES EXPORT_NAME qimg)
set_target_properties(qimg_static PROPERTIES EXPORT_NAME static)
install(TARGETS qimg RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS qimg_shared EXPORT qimg-shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
# An export of its own: it needs the libraries below it at link time, the shared one does not.
install(TARGETS qimg_static EXPORT qimg-static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/qimg DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h")

install(EXPORT qimg-shared NAMESPACE qimg:: DESTINATION ${package_dir})
install(EXPORT qimg-static NAMESPACE qimg:: DESTINATION ${package_dir})
configure_package_config_file(cmake/qimgConfig.cmake.in qimgConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
# Before 1.0 a new minor version may change the interface.
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/qimgConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/qimgConfig.cmake
        ${CMAKE_CURRENT_BINARY_DIR}/qimgConfigVersion.cmake DESTINATION ${package_dir})

set(pc_requires_private "liburing zlib libzstd jansson libcrypto")
# Relative to the file itself, so that the tree may be moved (and --prefix be given to --install).
set(pc_prefix ${CMAKE_INSTALL_PREFIX})
if(NOT IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})
    file(RELATIVE_PATH up /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
    set(pc_prefix "\${pcfiledir}/${up}")
endif()
configure_file(cmake/qimg.pc.in qimg.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/qimg.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

file(GLOB man_pages CONFIGURE_DEPENDS man/*.1)
install(FILES ${man_pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)

set(completions ${PROJECT_SOURCE_DIR}/completions)
install(FILES ${completions}/qimg.bash RENAME qimg OPTIONAL
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${completions}/_qimg OPTIONAL
        DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES ${completions}/qimg.fish OPTIONAL
        DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)

install(DIRECTORY share/fixtures DESTINATION ${CMAKE_INSTALL_DATADIR}/qimg
        FILES_MATCHING PATTERN "*.json")

install(FILES README.md SECURITY.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/qimg.spdx.json DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}
        FILES_MATCHING PATTERN "*.md" PATTERN "*.json")
install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR})

# The example of docs/libqimg.md is built along, so that it can't rot.
if(QIMG_TESTS)
    add_executable(example_read_chain examples/read_chain.c)
    target_link_libraries(example_read_chain PRIVATE qimg_shared qimg_flags)
endif()
