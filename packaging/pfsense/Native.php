<?php

/*
 * What the REST API package's Dispatcher does by the daemon when it is hooked
 * (hook.php): it asks for runs, says which are there, and ends them. Errors are
 * the package's own, so that users of its API see what they know.
 *
 * Where there is no daemon, or it does not know the class, the package goes on as
 * it always did, but under the dispatcher's lock (Door.php).
 */

declare(strict_types=1);

namespace Dispatchd;

use RESTAPI\Responses\FailedDependencyError;
use RESTAPI\Responses\ServerError;
use RESTAPI\Responses\ServiceUnavailableError;

foreach (['Dispatchd.php', 'Locks.php', 'Door.php'] as $dispatchd_file) {
    require_once __DIR__ . "/$dispatchd_file";
}
unset($dispatchd_file);

final class Native {
    /** How long a daemon that is being restarted is waited for, in seconds. */
    private const ABSENCE = 3.0;

    /** How long the daemon may take to answer what it need not wait for. */
    private const ANSWER = 10.0;

    /** How long jobs that are canceled may take to end, all together: kill_grace is 10 s. */
    private const GRACE = 12.0;

    /** The longest wait of a caller of the API: nginx gives up after 180 s. */
    private const LONGEST = 170;

    /** How long a request of which nothing is known is taken for the same when it comes again. */
    private const REPEAT = 300;

    private static ?Client $client = null;
    private static bool $absent = false;

    /**
     * spawn_process(): asks for a run. Where the caller is not to go on without it, it
     * waits for its end, at most as long as the class may run: then the job goes on, and
     * the caller is told its id.
     *
     * @param int $timeout the class's, in seconds; 0 = none, -1 = the lines in the package are
     *                     those of a version before, which take no lock
     * @return int|RunLock|null what stands for the process; else the package goes on in
     *                          the old way, and holds the lock where it runs the class itself
     */
    public static function spawn(string $name, bool $async, array $arguments, int $timeout = -1): int|RunLock|null {
        $until = microtime(true) + self::bound($timeout);
        $job = self::notify($name, $arguments, $async ? self::ANSWER : min(self::ANSWER, self::bound($timeout)));
        if ($job === null) {
            return $async || $timeout < 0 ? null : Door::lock($name, max(0.0, $until - microtime(true)));
        }
        if ($async) {
            return self::number($job['id']);
        }
        $ended = self::await($name, $job['id'], max(0.001, $until - microtime(true)));
        if ($ended === null) {
            throw self::unended($name, $job['id'], self::bound($timeout));
        }
        if ($ended['state'] !== 'succeeded') {
            throw self::failure($name, $ended);
        }
        return (int) getmypid();
    }

    /** How long a caller of the API waits for a class with this timeout. */
    public static function bound(int $timeout): int {
        return $timeout > 0 ? min($timeout, self::LONGEST) : self::LONGEST;
    }

    /** get_running_processes(): what is queued or runs, a number each. */
    public static function running(string $name): array {
        return array_map(static fn (array $job): int => self::number($job['id']), self::outstanding($name));
    }

    /** kill_running_processes(): ends what is queued or runs, and sees it end. */
    public static function kill(string $name): void {
        // The last first: else the next one would start as each one ends.
        $jobs = array_reverse(self::outstanding($name));
        $until = microtime(true) + self::GRACE;
        foreach ([static fn (string $id): mixed => self::client()->cancel($id), static fn (string $id): mixed => self::client()->wait($id, max(0.001, $until - microtime(true)))] as $do) {
            foreach ($jobs as $job) {
                try {
                    microtime(true) < $until && $do($job['id']);
                } catch (Problem) {
                    // It has ended by itself, or the next look will find it again.
                }
            }
        }
    }

    /**
     * Asks for a run; null where there is no daemon, or it does not know the class.
     *
     * Where nothing answers in time, nobody knows whether the run was accepted. The key
     * is kept then: the same request, once more, is the same job.
     */
    public static function notify(string $name, array $arguments, float $seconds = self::ANSWER): ?array {
        $kept = self::kept($name, $arguments);
        $key = self::recall($kept) ?? bin2hex(random_bytes(16));
        try {
            $job = self::ask(static fn (Client $c): array => $c->notify($name, $arguments === [] ? null : $arguments, $key), $seconds);
            @unlink($kept);
            return $job;
        } catch (Problem $p) {
            if ($p->isUnknown()) {
                self::keep($kept, $key);
            } else {
                @unlink($kept);
            }
            throw self::error($name, $p);
        }
    }

    /** Waits for a job's end; 0 s for as long as it takes. null = it has not ended. */
    public static function await(string $name, string $id, float $seconds = 0): ?array {
        try {
            return self::client()->wait($id, $seconds);
        } catch (Problem $p) {
            throw new ServiceUnavailableError(
                message: "Dispatcher `$name`: job $id was accepted and goes on, but its end is not known here: {$p->getMessage()}.",
                response_id: 'DISPATCHER_STILL_RUNNING',
                retry_after: max(1, $p->retryAfter()),
            );
        }
    }

    /** What a run threw in its own process, thrown again where it was asked for. */
    public static function failure(string $name, array $job): \Throwable {
        $detail = $job['error']['detail'] ?? null;
        $class = is_array($detail) ? (string) ($detail['class'] ?? '') : '';
        if (($detail['response_id'] ?? '') !== '' && is_subclass_of($class, \Error::class)) {
            return new $class(message: (string) $detail['message'], response_id: (string) $detail['response_id']);
        }
        $why = $job['error']['message'] ?? $job['state'];
        return new ServerError(message: "Dispatcher `$name` {$job['state']}: $why", response_id: 'DISPATCHER_FAILED_TO_SPAWN_PROCESS');
    }

    /** The jobs of a dispatcher that have not ended, oldest first. */
    private static function outstanding(string $name): array {
        try {
            $ask = static fn (Client $c): array => array_merge(
                $c->jobs(['dispatcher' => $name, 'state' => 'queued', 'limit' => 1000]),
                $c->jobs(['dispatcher' => $name, 'state' => 'running', 'limit' => 1000]),
            );
            return array_reverse(self::ask($ask, self::ANSWER / 2) ?? []);
        } catch (Problem) {
            return [];
        }
    }

    /**
     * A number for a job where the package wants a process id. It is above all
     * process ids of FreeBSD and Linux, so nobody is hit who is sent a signal
     * under it, and below 2^31, so that it stays what it is.
     */
    public static function number(string $id): int {
        return (1 << 30) | (crc32($id) & 0x3fffffff);
    }

    /** Asks the daemon; null where there is none, or none that knows the class. */
    private static function ask(callable $ask, float $seconds): ?array {
        $until = microtime(true) + min(self::ABSENCE, $seconds);
        while (true) {
            try {
                return $ask(self::client()->within($seconds));
            } catch (Problem $p) {
                if ($p->kind === 'dispatcher_unknown') {
                    return null;
                }
                // What may have been accepted must not be done once more.
                if ($p->kind !== 'unavailable' || self::client()->reached()) {
                    throw $p;
                }
                if (self::$absent || !is_dir(dirname(self::client()->socket())) || microtime(true) > $until) {
                    self::$absent = true; // waited for once is enough
                    return null;
                }
            }
            usleep(100_000);
        }
    }

    private static function client(): Client {
        return self::$client ??= new Client(null, self::ANSWER);
    }

    /**
     * The file of a request's key. Who asks for the same when the configuration has
     * changed since asks for something else: a run that has begun has read the old one.
     */
    private static function kept(string $name, array $arguments): string {
        $config = @stat('/cf/conf/config.xml') ?: @stat('/conf/config.xml') ?: [];
        $what = [$name, $arguments, $config['mtime'] ?? 0, $config['ino'] ?? 0, $config['size'] ?? 0];
        return RunLock::run() . '/repeat.' . hash('sha256', serialize($what));
    }

    /** The key of a request that came before, and of which nothing is known. */
    private static function recall(string $kept): ?string {
        clearstatcache(true, $kept);
        $is = @lstat($kept);
        if ($is === false || ($is['mode'] & 0o170000) !== 0o100000 || $is['uid'] !== user() && $is['uid'] !== 0 || abs(time() - $is['mtime']) > self::REPEAT) {
            return null;
        }
        return (string) @file_get_contents($kept) ?: null;
    }

    /** Keeps a key by a rename. Without room a repeat is another job. */
    private static function keep(string $kept, string $key): void {
        foreach (glob(RunLock::run() . '/repeat.*') ?: [] as $old) {
            if (abs(time() - (int) @filemtime($old)) > self::REPEAT) {
                @unlink($old);
            }
        }
        $mask = umask(0o077);
        $file = @fopen("$kept." . getmypid(), 'xe');
        umask($mask);
        if ($file !== false) {
            $whole = fwrite($file, $key) === strlen($key);
            fclose($file);
            $whole && @rename("$kept." . getmypid(), $kept) || @unlink("$kept." . getmypid());
        }
    }

    /** A job that the caller does not wait for any longer. */
    private static function unended(string $name, string $id, int $seconds): \Throwable {
        return new ServiceUnavailableError(
            message: "Dispatcher `$name`: job $id has not ended within `$seconds` seconds, and goes on. `dispatchctl why $id` says what it waits for.",
            response_id: 'DISPATCHER_STILL_RUNNING',
            retry_after: min(60, $seconds),
        );
    }

    /** The package's own error for a refusal. */
    private static function error(string $name, Problem $p): \Throwable {
        $after = max(1, $p->retryAfter());
        return match (true) {
            $p->isUnknown() => new ServiceUnavailableError(
                message: "Dispatcher `$name`: {$p->getMessage()}. The same request within `" . self::REPEAT . '` seconds is the same job.',
                response_id: 'DISPATCHER_ACCEPTANCE_UNKNOWN',
                retry_after: 30,
            ),
            $p->status() === 503 => new ServiceUnavailableError(
                message: "Dispatcher `$name`: {$p->getMessage()}. Try again after `$after` seconds.",
                response_id: 'DISPATCHER_TOO_MANY_QUEUED_PROCESSES',
                retry_after: $after,
            ),
            $p->kind === 'package_missing' => new FailedDependencyError(message: "Dispatcher `$name`: {$p->getMessage()}.", response_id: 'DISPATCHER_MISSING_REQUIRED_PACKAGE'),
            $p->kind === 'include_missing' => new FailedDependencyError(message: "Dispatcher `$name`: {$p->getMessage()}.", response_id: 'DISPATCHER_WITH_FAILED_INCLUDE'),
            default => new ServerError(message: "Dispatcher `$name`: {$p->getMessage()}.", response_id: 'DISPATCHER_FAILED_TO_SPAWN_PROCESS'),
        };
    }
}
