<?php

/*
 * Puts the REST API package on the daemon, or back:
 *
 *   php hook.php install|guard|remove|status [--package=DIR] [--native=FILE] [--accept=SHA256,...]
 *
 * install (native mode) adds a few lines to three methods of Core/Dispatcher.inc, so
 * that they ask the daemon. guard (for drop-in mode) adds them to spawn_process()
 * alone, so that a class that runs in its caller has the dispatcher's lock. Both do so
 * to the package's other doors: notify_dispatcher() of its command, and process() of
 * its caches. All lines stand between two marks, and do nothing where our files are
 * gone.
 *
 * Only text that is known is touched: for install all of Dispatcher.inc, else the
 * function that gets the lines. What you have looked at yourself is taken by --accept
 * with its sum. A door that is not known stays as it is, and is named. All may be
 * called again at any time; after remove the files are what they were, to the byte. An
 * update of the package brings files without the lines: call it again.
 *
 * The exit status: 0 done, or as wished already · 64 usage · 69 no package ·
 * 75 a file cannot be written · 78 a version that is not known
 */

declare(strict_types=1);

namespace Dispatchd\Hook;

/** The marks: of native mode, and of what only takes a lock. */
const MARKS = ['native' => '# dispatchd', 'lock' => '# dispatchd lock'];

const DISPATCHER = 'Core/Dispatcher.inc';

/** The sums of Core/Dispatcher.inc, and which releases have it. */
const KNOWN = [
    '4e01e5c81aa7adeba016a35f4d45a2a474933550c56218fa86b05b13f9e23874' => '2.0.0 to 2.0.3',
    'a3af354247f14724a8f23969d59c01937686e0b6f229d4e1abb47cbe901dd56d' => '2.1.0 to 2.4.2',
    '1722b1fe72273fc888895136761c9ec24ce957e06347d0be7ec1a599856608ea' => '2.4.3 to 2.6.9',
    '780f6a4e29e76a8735c0b5f19055840484b95c81144df59970535f803bd9b450' => '2.7.0 to 2.8.0',
    'bfc931e124f3de2bd2cba80be31287cd31aa8d91d2179a03eef5f6b742bdef1c' => '2.8.1 to 2.10.0',
];

/** The doors beside those of native mode: a function, what is known of its text, what it gets. */
const DOORS = [
    'async: false' => [
        'file' => DISPATCHER, 'find' => '/^(    )public function spawn_process\(.*?^    \}\n/ms',
        'known' => ['c41039957faef5e8a1de8d7676c99a906b6c3ce288c81d6e5475f86ef53e2f25', 'ed5ff54c760b19bacee8aac8b6abff11b0d46bac07ad2a39603a48681c00a794'],
        'call' => '$dispatchd = \Dispatchd\Door::caller($this->short_name, $this->async, $arguments, max(0, (int) ($this->timeout ?? 0)));',
    ],
    'notifydispatcher' => [
        'file' => '.resources/scripts/manage.php', 'find' => '/^()function notify_dispatcher\(.*?^\}\n/ms',
        'known' => ['ea16db70c0893b1e843edfcc83fde050523868b5cd77f507101d67cb1fcfde43', 'dcd0827a8ff509c3ae1a2e29398fcc9fe57b6356486382323e1250502bb249a8'],
        'call' => '\Dispatchd\Door::notifydispatcher(...func_get_args());',
    ],
    'refreshcache' => [
        'file' => 'Core/Cache.inc', 'find' => '/^(    )final public function process\(.*?^    \}\n/ms',
        'known' => ['46a1cedba18e2f050aab74b2c2188d76c3d9fc4556740ebdfc24277e585ec1c1'],
        'call' => "if ((\$dispatchd = \\Dispatchd\\Door::cache(\$this->short_name, max(0, (int) (\$this->timeout ?? 0)))) === true) {\n    return;\n}",
    ],
];

/** A reason to end, with the exit status. */
final class Refusal extends \RuntimeException {}

/** The text without our lines. */
function plain(string $text): string {
    foreach (MARKS as $mark) {
        $text = (string) preg_replace("/^[ \\t]*$mark: begin\\n.*?^[ \\t]*$mark: end\\n/ms", '', $text);
    }
    return $text;
}

/** Lines of ours, indented. */
function lines(string $kind, string $indent, string $code): string {
    $all = [MARKS[$kind] . ': begin', ...explode("\n", $code), MARKS[$kind] . ': end'];
    return $indent . implode("\n$indent", $all) . "\n";
}

/** Puts lines behind the only place that a pattern finds. */
function behind(string $text, string $pattern, string $code): string {
    if (preg_match_all($pattern, $text, $found, PREG_OFFSET_CAPTURE) !== 1) {
        throw new Refusal("the place of a hook is not found, or more than once: $pattern", 78);
    }
    $at = $found[0][0][1] + strlen($found[0][0][0]);
    return substr($text, 0, $at) . lines('native', '        ', $code) . substr($text, $at);
}

/** Code that is done where our file is there. */
function guarded(string $file, string $code): string {
    $path = var_export($file, true);
    return "if (is_file($path)) {\n    require_once $path;\n    " . str_replace("\n", "\n    ", $code) . "\n}";
}

/** Dispatcher.inc with the lines of native mode. */
function hooked(string $plain, string $native): string {
    $text = behind($plain, '/function spawn_process\([^{]*\{(?:[^}](?!check_required))*?\$this->check_required_packages\(\);\n/s', guarded(
        $native,
        // What is no number is the lock for a run here: it is held as long as the variable lives.
        "if (is_int(\$dispatchd = \\Dispatchd\\Native::spawn(\$this->short_name, \$this->async, \$arguments, max(0, (int) (\$this->timeout ?? 0))))) {\n    return \$dispatchd;\n}",
    ));
    $text = behind($text, '/function get_running_processes\([^{]*\{\n/', "\$dispatchd = [];\n" . guarded($native, '$dispatchd = \Dispatchd\Native::running($this->short_name);'));
    // Entries of the old way are there too, as long as some are left.
    $merge = static fn (array $m): string => lines('native', $m[1], '$pids = array_merge($dispatchd, $pids);') . $m[0];
    $text = (string) preg_replace_callback('/^([ \t]*)return \$pids;\n/m', $merge, $text, -1, $count);
    if ($count !== 1) {
        throw new Refusal('the end of get_running_processes is not found', 78);
    }
    return behind($text, '/function kill_running_processes\([^{]*\{\n/', guarded($native, '\Dispatchd\Native::kill($this->short_name);'));
}

/** A text with the lines of a door; '' where its function is not known. */
function locked(array $door, string $plain, string $file, array $accepted): string {
    if (preg_match_all($door['find'], $plain, $found, PREG_OFFSET_CAPTURE) !== 1 || !in_array(hash('sha256', $found[0][0][0]), [...$door['known'], ...$accepted], true)) {
        return '';
    }
    [$function, $at] = $found[0][0];
    $at += strpos($function, "{\n") + 2;
    return substr($plain, 0, $at) . lines('lock', $found[1][0][0] . '    ', guarded($file, $door['call'])) . substr($plain, $at);
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
            throw new Refusal('usage: hook.php install|guard|remove|status [--package=DIR] [--native=FILE] [--accept=SHA256,...]', 64);
        }
        $options[$found[1]] = $found[2];
    }
    $options['accept'] = preg_split('/[\s,]+/', $options['accept'], -1, PREG_SPLIT_NO_EMPTY);
    return $options;
}

/** The package: its files with a hook, as they are and without our lines. */
final class Package {
    /** @var array<string, string> by name below the package */
    private array $texts = [];

    public function __construct(private array $options) {
        foreach (array_unique(array_column(DOORS, 'file')) as $name) {
            $text = @file_get_contents("{$options['package']}/$name");
            if ($text !== false) {
                $this->texts[$name] = $text;
            }
        }
    }

    /** Whether it is installed. */
    public function isHere(): bool {
        return isset($this->texts[DISPATCHER]);
    }

    /** Which version it is; '' where that is not known. */
    public function version(): string {
        return KNOWN[$this->sum()] ?? (in_array($this->sum(), $this->options['accept'], true) ? 'accepted' : '');
    }

    public function sum(): string {
        return hash('sha256', plain($this->texts[DISPATCHER]));
    }

    /** Whether lines of a kind are in a file. */
    public function has(string $kind, string $name): bool {
        return str_contains($this->texts[$name] ?? '', MARKS[$kind] . ": begin\n");
    }

    /** Replaces what differs, and gives whether anything did. */
    public function put(array $texts): bool {
        $changed = false;
        foreach ($texts as $name => $text) {
            if ($text !== $this->texts[$name]) {
                put("{$this->options['package']}/$name", $text);
                $changed = true;
            }
        }
        return $changed;
    }

    /** All texts without our lines. */
    public function plain(): array {
        return array_map(plain(...), $this->texts);
    }

    /**
     * All texts with lines at the doors, and the names of the doors that are not known.
     *
     * @return array{array<string, string>, string[]}
     */
    public function guarded(bool $native): array {
        $texts = $this->plain();
        $open = [];
        if ($native) {
            $texts[DISPATCHER] = hooked($texts[DISPATCHER], $this->options['native']);
        }
        foreach (DOORS as $name => $door) {
            if ($native && $door['file'] === DISPATCHER) {
                continue;
            }
            // Each has a file of its own.
            $text = isset($texts[$door['file']]) ? locked($door, $texts[$door['file']], $this->options['native'], $this->options['accept']) : '';
            $text === '' ? $open[] = $name : $texts[$door['file']] = $text;
        }
        return [$texts, $open];
    }
}

/** Says how the package is. */
function status(Package $package): string {
    $version = $package->version() ?: 'not known (' . $package->sum() . ')';
    $guarded = array_filter(DOORS, static fn (array $door): bool => $package->has('lock', $door['file']));
    return ($package->has('native', DISPATCHER) ? 'installed' : 'not installed') . ", version $version; guarded: " . (implode(', ', array_keys($guarded)) ?: 'nothing');
}

/** install and guard. */
function install(Package $package, array $options, bool $native): string {
    $version = $package->version();
    if ($native && $version === '') {
        throw new Refusal("{$options['package']}/" . DISPATCHER . " is of a version that is not known; nothing was changed. Look at it, and pass --accept={$package->sum()} if its three methods are what they were.", 78);
    }
    [$texts, $open] = $package->guarded($native);
    $said = ($native ? 'installed' : 'guarded') . ($package->put($texts) ? '' : ' already') . ', version ' . ($version ?: 'not known');
    return $said . ($open === [] ? '' : '; not guarded, for it is not known here: ' . implode(', ', $open));
}

/** Does what is asked for, and says it. */
function main(array $words): string {
    $verb = (string) array_shift($words);
    $options = options($words);
    if (!in_array($verb, ['install', 'guard', 'remove', 'status'], true)) {
        throw new Refusal('usage: hook.php install|guard|remove|status ...', 64);
    }
    $package = new Package($options);
    if ($verb === 'remove') {
        // A file that is not known any more gets its lines out all the same, also one
        // that was left behind when the package went.
        return $package->put($package->plain()) ? 'removed' : 'not installed';
    }
    if (!$package->isHere()) {
        throw new Refusal("{$options['package']}/" . DISPATCHER . ': the REST API package is not installed', 69);
    }
    return $verb === 'status' ? status($package) : install($package, $options, $verb === 'install');
}

try {
    print main(array_slice($argv, 1)) . "\n";
} catch (Refusal $e) {
    fwrite(STDERR, $e->getMessage() . "\n");
    exit($e->getCode());
}
