<?php

/*
 * The part of the PHP bridge that writes a dispatcher's file for each class of
 * the package, from what the class says of itself. A class that cannot be asked gets
 * none: a guess would end its runs too early. Locks and coalescing are not
 * in the classes: who imports a class thinks of them once and writes them down.
 */

declare(strict_types=1);

namespace Dispatchd\Bridge;

require_once __DIR__ . '/describe.php';

/** Something is wrong with the classes, as with a configuration. */
const CONFIGURATION = 78;

/** A string as TOML writes it. */
function toml(string $text): string {
    $escaped = preg_replace_callback(
        '/["\\\\]|[\x00-\x1f\x7f]/',
        static fn (array $m): string => $m[0] < ' ' || $m[0] === "\x7f" ? sprintf('\\u%04X', ord($m[0])) : '\\' . $m[0],
        $text,
    );
    return '"' . (string) $escaped . '"';
}

/** A list of strings as TOML writes it. */
function toml_list(array $texts): string {
    return '[' . implode(', ', array_map(toml(...), $texts)) . ']';
}

/** The file of one class. */
function definition(array $class): string {
    $paths = array_filter(array_column($class['package_includes'], 'path'));
    $missing = array_column(array_filter($class['package_includes'], static fn (array $i): bool => $i['path'] === ''), 'name');
    $lines = ["# Imported from {$class['class']}: see whether it needs locks, and whether requests may be joined."];
    $lines[] = 'php_class = ' . toml($class['class']);
    $lines[] = 'timeout = ' . max(0, $class['timeout']);
    $lines[] = '# The original gave up jobs that had waited too long; nothing that is accepted is lost here.';
    $lines[] = 'queue_timeout = 0';
    $lines[] = 'max_queue = ' . max(0, $class['max_queue']);
    if ($class['schedule'] !== '') {
        $lines[] = 'schedule = ' . toml($class['schedule']);
    }
    if ($class['required_packages'] !== []) {
        $lines[] = 'required_packages = ' . toml_list($class['required_packages']);
    }
    if ($paths !== []) {
        $lines[] = 'package_includes = ' . toml_list(array_values($paths));
    }
    foreach ($missing as $name) {
        $lines[] = '# not found here, the class looks for it when it runs: ' . json_encode($name);
    }
    if ($class['kind'] === 'cache') {
        array_push($lines, '', '[cache]');
    }
    return implode("\n", $lines) . "\n";
}

/** The options of the verb, by name. */
function import_options(array $words): array {
    $options = ['src' => '', 'dir' => '', 'known' => ''];
    foreach ($words as $word) {
        if (!preg_match('/^--(src|dir|known)=(.*)$/s', $word, $found)) {
            throw new Refusal('usage: bridge.php import --dir=DIR [--known=DIR] [--src=DIR]', USAGE);
        }
        $options[$found[1]] = $found[2];
    }
    if ($options['dir'] === '' || !is_dir($options['dir'])) {
        throw new Refusal("{$options['dir']}: no such directory", USAGE);
    }
    return $options;
}

/** Writes a file that is not there yet; false if it is. */
function write_new(string $path, string $text): bool {
    if (file_exists($path)) {
        return false;
    }
    replace($path, $text);
    return true;
}

/** import: a file for each class that has none. */
function import(array $words): void {
    $options = import_options($words);
    $found = classes_of(package_dir($options['src']));
    foreach ($found['classes'] as $class) {
        $file = $class['name'] . '.toml';
        $known = $options['known'] . '/' . $file;
        if ($options['known'] !== '' && file_exists($known)) {
            print "kept      {$class['name']}: defined in $known\n";
        } elseif (write_new($options['dir'] . '/' . $file, definition($class))) {
            print "imported  {$class['name']}: {$options['dir']}/$file\n";
        } else {
            print "kept      {$class['name']}: {$options['dir']}/$file is there already\n";
        }
    }
    foreach ($found['unread'] as $unread) {
        $name = basename($unread['file'], '.inc');
        print file_exists("{$options['dir']}/$name.toml") ? "kept      $name: {$options['dir']}/$name.toml is there already\n" : "unread    $name: {$unread['unread']}; write {$options['dir']}/$name.toml by hand\n";
    }
    foreach ($found['broken'] as $broken) {
        print "broken    {$broken['file']}: {$broken['error']}\n";
    }
    $bad = count($found['broken']) + count($found['unread']);
    if ($bad > 0) {
        throw new Refusal("$bad of " . ($bad + count($found['classes'])) . ' files have no class that works, or none that says what it is', CONFIGURATION);
    }
}
