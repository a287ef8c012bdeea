<?php

/*
 * Puts the REST API package's Dispatcher on the daemon (native mode), or back:
 *
 *   php hook.php install|remove|status [--package=DIR] [--native=FILE] [--accept=SHA256]
 *
 * It adds a few lines to three methods of RESTAPI/Core/Dispatcher.inc, each
 * between two marks. Only versions whose text is known are touched; another one
 * that you have looked at yourself is taken by --accept with its sum. install
 * and remove may be called again at any time; after remove the file is what it
 * was, to the byte. An update of the package brings a file without the lines:
 * install again.
 *
 * The exit status: 0 done, or as wished already · 64 usage · 69 no package ·
 * 75 the file cannot be written · 78 a version that is not known
 */

declare(strict_types=1);

namespace Dispatchd\Hook;

const BEGIN = "# dispatchd: begin\n";
const END = "# dispatchd: end\n";

/** The sums of Core/Dispatcher.inc, and which releases have it. */
const KNOWN = [
    '4e01e5c81aa7adeba016a35f4d45a2a474933550c56218fa86b05b13f9e23874' => '2.0.0 to 2.0.3',
    'a3af354247f14724a8f23969d59c01937686e0b6f229d4e1abb47cbe901dd56d' => '2.1.0 to 2.4.2',
    '1722b1fe72273fc888895136761c9ec24ce957e06347d0be7ec1a599856608ea' => '2.4.3 to 2.6.9',
    '780f6a4e29e76a8735c0b5f19055840484b95c81144df59970535f803bd9b450' => '2.7.0 to 2.8.0',
    'bfc931e124f3de2bd2cba80be31287cd31aa8d91d2179a03eef5f6b742bdef1c' => '2.8.1 to 2.10.0',
];

/** A reason to end, with the exit status. */
final class Refusal extends \RuntimeException {}

/** The text without our lines. */
function plain(string $text): string {
    return (string) preg_replace('/^[ \t]*' . preg_quote(BEGIN, '/') . '.*?^[ \t]*' . preg_quote(END, '/') . '/ms', '', $text);
}

/** Puts lines behind the only place that a pattern finds. */
function behind(string $text, string $pattern, string $code): string {
    if (preg_match_all($pattern, $text, $found, PREG_OFFSET_CAPTURE) !== 1) {
        throw new Refusal("the place of a hook is not found, or more than once: $pattern", 78);
    }
    $at = $found[0][0][1] + strlen($found[0][0][0]);
    return substr($text, 0, $at) . '        ' . BEGIN . $code . '        ' . END . substr($text, $at);
}

/** The text with our lines. */
function hooked(string $plain, string $native): string {
    $load = '        require_once ' . var_export($native, true) . ";\n";
    $text = behind($plain, '/function spawn_process\([^{]*\{(?:[^}](?!check_required))*?\$this->check_required_packages\(\);\n/s', $load
        . "        if ((\$dispatchd = \\Dispatchd\\Native::spawn(\$this->short_name, \$this->async, \$arguments)) !== null) {\n"
        . "            return \$dispatchd;\n        }\n");
    $text = behind($text, '/function get_running_processes\([^{]*\{\n/', $load
        . "        \$dispatchd = \\Dispatchd\\Native::running(\$this->short_name);\n");
    // Entries of the old way are there too, as long as some are left.
    $text = (string) preg_replace('/^([ \t]*)return \$pids;\n/m', '$1' . BEGIN . "\$1\$pids = array_merge(\$dispatchd, \$pids);\n\$1" . END . "\$0", $text, -1, $count);
    if ($count !== 1) {
        throw new Refusal('the end of get_running_processes is not found', 78);
    }
    return behind($text, '/function kill_running_processes\([^{]*\{\n/', $load
        . "        \\Dispatchd\\Native::kill(\$this->short_name);\n");
}

/** Replaces the file by a rename, with the rights that it had. */
function put(string $path, string $text): void {
    $temp = "$path.dispatchd-" . getmypid();
    $mode = fileperms($path) & 0o777;
    $good = @file_put_contents($temp, $text) === strlen($text) && @chmod($temp, $mode)
        && @chown($temp, (int) fileowner($path)) && @chgrp($temp, (int) filegroup($path)) && @rename($temp, $path);
    if (!$good) {
        @unlink($temp);
        throw new Refusal("$path cannot be written: " . (error_get_last()['message'] ?? ''), 75);
    }
    if (function_exists('opcache_invalidate')) {
        @opcache_invalidate($path, true);
    }
}

/** The words of the command line, as options. */
function options(array $words): array {
    $options = ['package' => '/usr/local/pkg/RESTAPI', 'native' => __DIR__ . '/Native.php', 'accept' => ''];
    foreach ($words as $word) {
        if (!preg_match('/^--(package|native|accept)=(.+)$/s', $word, $found)) {
            throw new Refusal('usage: hook.php install|remove|status [--package=DIR] [--native=FILE] [--accept=SHA256]', 64);
        }
        $options[$found[1]] = $found[2];
    }
    return $options;
}

/** Does what is asked for, and says it. */
function main(array $words): string {
    $verb = (string) array_shift($words);
    $options = options($words);
    if (!in_array($verb, ['install', 'remove', 'status'], true)) {
        throw new Refusal('usage: hook.php install|remove|status ...', 64);
    }
    $path = $options['package'] . '/Core/Dispatcher.inc';
    $text = @file_get_contents($path);
    if ($text === false) {
        throw new Refusal("$path: the REST API package is not installed", 69);
    }
    $plain = plain($text);
    $sum = hash('sha256', $plain);
    $version = KNOWN[$sum] ?? ($options['accept'] === $sum ? 'accepted' : '');
    if ($verb === 'status') {
        return ($text === $plain ? 'not installed' : 'installed') . ', version ' . ($version ?: "not known ($sum)");
    }
    if ($verb === 'remove') {
        // A file that is not known any more gets its lines out all the same.
        $text === $plain ?: put($path, $plain);
        return $text === $plain ? 'not installed' : 'removed';
    }
    if ($version === '') {
        throw new Refusal("$path is of a version that is not known; nothing was changed. Look at it, and pass --accept=$sum if its three methods are what they were.", 78);
    }
    $wanted = hooked($plain, $options['native']);
    if ($text === $wanted) {
        return "installed already, version $version";
    }
    put($path, $wanted);
    return "installed, version $version";
}

try {
    print main(array_slice($argv, 1)) . "\n";
} catch (Refusal $e) {
    fwrite(STDERR, $e->getMessage() . "\n");
    exit($e->getCode());
}
