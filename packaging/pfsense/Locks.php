<?php

/*
 * The two locks of a class of the REST API package, so that no two runs of it
 * meet, by whatever door they come:
 *
 *  - RunLock is the dispatcher's own, run/dispatchers/NAME.lock, which the daemon
 *    holds while a job of it runs: flock(2), so what dies frees it.
 *  - PackageLock is the package's, /tmp/NAME.lock: a file that is there while a run
 *    goes on. The package's own command waits for it as long as it lies there,
 *    stale or not. Ours have flock(2) on it besides, so ours is never stale, and one
 *    of the package's is held for as long as the process that made it lives.
 */

declare(strict_types=1);

namespace Dispatchd;

/** A lock cannot be had, and not because somebody has it. */
final class LockFailure extends \RuntimeException {}

/** The dispatcher's own lock. It is free again when the object is gone. */
final class RunLock {
    /** @var array<string, \WeakReference<RunLock>> those that this process has, by path */
    private static array $held = [];

    /** @param resource $file */
    private function __construct(private string $path, private $file) {}

    public function __destruct() {
        if ((self::$held[$this->path] ?? null)?->get() === $this) {
            unset(self::$held[$this->path]);
        }
        fclose($this->file);
    }

    /** Where the daemon's directory is that has the socket. */
    public static function run(): string {
        $socket = getenv('DISPATCHD_SOCKET') ?: (PHP_OS_FAMILY === 'Linux' ? '/run' : '/var/run') . '/dispatchd/control.sock';
        return dirname($socket);
    }

    /** Whether this process has the lock. */
    public static function isHeld(string $name): bool {
        return (self::$held[self::path($name)] ?? null)?->get() !== null;
    }

    private static function path(string $name): string {
        return self::run() . "/dispatchers/$name.lock";
    }

    /**
     * Takes the lock of a dispatcher, and waits for it.
     *
     * @param float $seconds how long; INF for as long as it takes
     * @param \Closure|null $waiting is told once who has it
     * @return self|null null when it was not free in time
     */
    public static function take(string $name, float $seconds = INF, ?\Closure $waiting = null): ?self {
        if (!preg_match('/^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$/D', $name)) {
            throw new LockFailure("lock name $name: not allowed");
        }
        $path = self::path($name);
        $mine = (self::$held[$path] ?? null)?->get();
        if ($mine !== null) {
            return $mine; // a run within a run of the same class is one run
        }
        self::directory(self::run());
        self::directory(dirname($path));
        for ($until = microtime(true) + $seconds; ; usleep(50_000)) {
            $file = self::open($path);
            if (flock($file, LOCK_EX | LOCK_NB) && self::isAt($file, $path)) {
                self::sign($file);
                $lock = new self($path, $file);
                self::$held[$path] = \WeakReference::create($lock);
                return $lock;
            }
            if ($waiting !== null) {
                $waiting(trim((string) stream_get_contents($file, 400, 0)));
                $waiting = null;
            }
            fclose($file);
            if (microtime(true) >= $until) {
                return null;
            }
        }
    }

    /**
     * Makes a directory as the daemon does, ours and 0755. In the minutes of boot no
     * daemon has made it yet, and anybody may write to /var/run on pfSense: what
     * another user has made is no place for a lock of root's.
     */
    private static function directory(string $path): void {
        @mkdir($path, 0o755);
        clearstatcache(true, $path);
        $is = @lstat($path);
        if ($is === false || ($is['mode'] & 0o170000) !== 0o040000) {
            throw new LockFailure("$path: no directory can be made there");
        }
        if ($is['uid'] !== 0 && $is['uid'] !== user() || ($is['mode'] & 0o022) !== 0) {
            throw new LockFailure("$path: belongs to user {$is['uid']}, or others may write to it");
        }
    }

    /** @return resource */
    private static function open(string $path) {
        $mask = umask(0o117);
        // "e": a service that the run starts must not hold the lock as long as it lives.
        $file = is_link($path) ? false : @fopen($path, 'c+e');
        umask($mask);
        if ($file === false) {
            throw new LockFailure("$path: cannot be opened: " . (error_get_last()['message'] ?? 'a link'));
        }
        return $file;
    }

    /**
     * Whether the name still means this file: somebody may have removed it.
     *
     * @param resource $file
     */
    public static function isAt($file, string $path): bool {
        clearstatcache(true, $path);
        $at = @stat($path);
        $is = fstat($file);
        return $at !== false && $is !== false && $at['ino'] === $is['ino'] && $at['dev'] === $is['dev'];
    }

    /**
     * Says in the file who has the lock, as lock files of the daemon do, for who asks why.
     *
     * @param resource $file
     */
    private static function sign($file): void {
        $command = implode(' ', $_SERVER['argv'] ?? []) ?: PHP_SAPI;
        @ftruncate($file, 0);
        @rewind($file);
        @fwrite($file, json_encode(['pid' => getmypid(), 'start' => time(), 'command' => substr($command, 0, 200)], JSON_INVALID_UTF8_SUBSTITUTE) . "\n");
        @fflush($file);
    }
}

/** The package's lock. It is free again when the object is gone. */
final class PackageLock {
    /** How long between two looks at a lock that somebody has, in microseconds. */
    private const PAUSE = 100_000;

    /** @var resource|null */
    private $file = null;
    private string $path;
    private string $mark;

    /**
     * @param string $name the short name of the class
     * @param string $of the dispatcher whose job it is: jobs of one dispatcher may run
     *                   side by side where the daemon lets them; '' = alone
     */
    private function __construct(private string $name, private string $of) {
        $this->path = (getenv('DISPATCHD_RESTAPI_LOCKS') ?: '/tmp') . "/$name.lock";
        $this->mark = 'dispatchd ' . ($of ?: '-') . "\n";
    }

    public function __destruct() {
        $this->release();
    }

    /**
     * Takes the lock of a class, and waits as long as somebody who lives has it.
     *
     * @param \Closure|null $waiting is told at each look who that is
     */
    public static function take(string $name, string $of = '', ?\Closure $waiting = null): self {
        $lock = new self($name, $of);
        $lock->again($waiting);
        return $lock;
    }

    /**
     * Makes sure of the lock just before the run. The package looks whether the file is
     * there and makes it in a second step: a command of its own that had looked before
     * we came has written its word over ours by now, and runs. Then it is waited for.
     */
    public function again(?\Closure $waiting = null): void {
        while (!$this->isOurs()) {
            $this->close();
            $holder = $this->attempt();
            if ($holder === null) {
                return;
            }
            if ($waiting !== null) {
                $waiting($holder);
            }
            usleep(self::PAUSE);
        }
    }

    /**
     * Who refreshes a cache by the package's own command, which takes no lock for that;
     * null = nobody.
     */
    public static function refreshes(string $name): ?string {
        foreach (processes() as [$pid, , $words]) {
            if ($pid !== getmypid() && self::isCommand($words, 'refreshcache', $name)) {
                return "process $pid";
            }
        }
        return null;
    }

    /** Gives the lock back, and takes the file away if nobody else has it. */
    public function release(): void {
        if ($this->file !== null && flock($this->file, LOCK_EX | LOCK_NB) && $this->isOurs()) {
            @unlink($this->path);
        }
        $this->close();
    }

    private function close(): void {
        if ($this->file !== null) {
            fclose($this->file);
            $this->file = null;
        }
    }

    private function isOurs(): bool {
        return $this->file !== null && RunLock::isAt($this->file, $this->path)
            && stream_get_contents($this->file, 200, 0) === $this->mark;
    }

    /** Tries once. Gives null when it is done, else who has the lock. */
    private function attempt(): ?string {
        for ($i = 0; $i < 10; $i++) {
            $file = @fopen($this->path, 'x+e');
            if ($file !== false) {
                if ($this->settle($file)) {
                    return null;
                }
                fclose($file);
                continue;
            }
            $file = $this->open();
            $holder = $file === null ? null : $this->holder($file);
            if ($this->file !== null || $holder !== null) {
                return $holder;
            }
        }
        // No room, no right, something in its place: the run has the daemon's lock, and
        // is not given up for the package's.
        error_log("dispatchd: {$this->path} cannot be had: the package's own command does not see this run");
        return null;
    }

    /**
     * Makes a file ours that we have just made. Others may have opened it since, found
     * nothing in it, and taken it away again: then it is tried anew.
     *
     * @param resource $file
     */
    private function settle($file): bool {
        if (!flock($file, LOCK_EX | LOCK_NB) || fwrite($file, $this->mark) === false || !fflush($file)
            || $this->of !== '' && !flock($file, LOCK_SH | LOCK_NB)) {
            return false;
        }
        $this->file = $file;
        if ($this->isOurs()) {
            return true;
        }
        $this->file = null;
        return false;
    }

    /**
     * Who has a lock that is there; null where it was stale and is gone now, or is ours
     * too. Nothing is written into a file that we did not make: in /tmp anybody may
     * have put it there, as a link to another one.
     *
     * @param resource $file
     */
    private function holder($file): ?string {
        $text = (string) stream_get_contents($file, 200, 0);
        $alone = flock($file, LOCK_EX | LOCK_NB);
        if (!$alone && $this->of !== '' && $text === $this->mark && flock($file, LOCK_SH | LOCK_NB) && RunLock::isAt($file, $this->path)) {
            $this->file = $file;
            return null;
        }
        $holder = !$alone ? 'another run' : (str_starts_with($text, 'dispatchd ') ? null : $this->foreign($text, (int) fstat($file)['mtime']));
        if ($holder === null && RunLock::isAt($file, $this->path)) {
            @unlink($this->path);
        }
        fclose($file);
        return $holder;
    }

    /**
     * Opens what lies there, if it is a file; takes away anything else.
     *
     * @return resource|null
     */
    private function open() {
        clearstatcache(true, $this->path);
        $is = @lstat($this->path);
        if ($is !== false && ($is['mode'] & 0o170000) !== 0o100000) {
            @unlink($this->path) || @rmdir($this->path);
            return null;
        }
        $file = @fopen($this->path, 'rne'); // "n": no pipe that came meanwhile stops us
        if ($file === false || $is === false || fstat($file)['ino'] !== $is['ino'] || fstat($file)['dev'] !== $is['dev']) {
            return null;
        }
        return $file;
    }

    /** Who made the file, if he lives and is none of ours; null = it is stale. */
    private function foreign(string $text, int $made): ?string {
        if (preg_match('/^\s*(\d{1,9})\s*$/D', $text, $found)) {
            return function_exists('posix_kill') && posix_kill((int) $found[1], 0) ? "process $found[1]" : null;
        }
        foreach (processes() as [$pid, $started, $words]) {
            // Who came later found the file there and waits as we do.
            if ($pid !== getmypid() && $started <= $made + 1 && self::isCommand($words, 'notifydispatcher', $this->name)) {
                return "process $pid";
            }
        }
        return null;
    }

    /** Whether a command line is the package's own command for a class. */
    private static function isCommand(string $words, string $verb, string $name): bool {
        return (bool) preg_match('~^\S*php\S*\s(?:.*\s)?\S*(?:manage\.php|pfsense-restapi)\s+' . "$verb\s+" . preg_quote($name, '~') . '(?:\s|$)~D', $words);
    }
}

/** The user that this process acts as. */
function user(): int {
    return function_exists('posix_geteuid') ? posix_geteuid() : (int) @fileowner('/proc/self');
}

/**
 * All processes: pid, the second in which it started, the words of its command.
 *
 * @return \Generator<array{int, int, string}>
 */
function processes(): \Generator {
    if (PHP_OS_FAMILY !== 'Linux') {
        // Without a shell, and without the class's name on a command line.
        $ps = @proc_open(['/bin/ps', 'axww', '-o', 'pid=', '-o', 'etimes=', '-o', 'command='], [1 => ['pipe', 'w'], 2 => ['file', '/dev/null', 'w']], $pipes);
        $text = $ps === false ? '' : (string) stream_get_contents($pipes[1]);
        foreach (explode("\n", $text) as $line) {
            if (preg_match('/^\s*(\d+)\s+(\d+)\s+(.*)$/', $line, $found)) {
                yield [(int) $found[1], time() - (int) $found[2], $found[3]];
            }
        }
        return;
    }
    preg_match('/^btime (\d+)/m', (string) @file_get_contents('/proc/stat'), $boot);
    foreach (glob('/proc/[0-9]*', GLOB_NOSORT) ?: [] as $dir) {
        $words = strtr((string) @file_get_contents("$dir/cmdline"), "\0", ' ');
        if ($words === '' || !preg_match('/\) \S (?:\S+ ){18}(\d+)/', (string) @file_get_contents("$dir/stat"), $found)) {
            continue;
        }
        yield [(int) basename($dir), (int) ($boot[1] ?? 0) + intdiv((int) $found[1], 100), $words];
    }
}
