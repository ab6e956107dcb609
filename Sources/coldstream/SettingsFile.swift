// The settings that a command works with: file, then flags.

import FleetSettings
import LineFiles

enum SettingsFile {
    /// The file that counts: as given, else `coldstream.json` of the input folder, where there is one.
    static func path(_ given: String?, inputFolder: String?) -> String? {
        if let given { return given }
        let usual = inputFolder.map { "\($0)/coldstream.json" }
        return usual.flatMap { FolderFiles.isThere($0) ? $0 : nil }
    }

    /// - Parameters:
    ///   - path: as given; without it `coldstream.json` of the input folder, where there is one.
    ///   - changes: `path=value` each.
    static func read(
        _ path: String?, inputFolder: String? = nil, _ changes: [String] = []
    ) throws -> FleetSettings {
        var settings = FleetSettings()
        if let file = self.path(path, inputFolder: inputFolder) {
            guard !FolderFiles.isFolder(file), let text = ProcessFacts.text(file) else {
                throw SettingsError("\(file): the settings file cannot be read")
            }
            settings = try FleetSettings(parsing: Array(text.utf8), file: file)
        }
        for change in changes {
            let parts = change.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else {
                throw SettingsError("--set \(change): expected PATH=VALUE")
            }
            try settings.set(String(parts[0]), to: String(parts[1]))
        }
        return settings
    }
}
